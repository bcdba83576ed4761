variable "name" {
  description = "What every machine, tag and firewall is called by; two deployments in one team need two names."
  type        = string
  default     = "tandem"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "Expected 2 to 20 lower-case letters, digits and dashes, beginning with a letter."
  }
}

variable "region" {
  description = "Where all of it stands: a region that has the GPU of gpu_size (`doctl compute size list`)."
  type        = string
  default     = "tor1"

  validation {
    condition     = can(regex("^[a-z]{3}[0-9]$", var.region))
    error_message = "Expected a region's slug, such as tor1."
  }
}

variable "vpc_cidr" {
  description = "The private network's addresses; it may not overlap with another of the team's."
  type        = string
  default     = "10.77.0.0/20"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|2[0-8])$", var.vpc_cidr))
    error_message = "Expected IPv4 addresses such as 10.77.0.0/20, from /16 to /28."
  }
}

variable "ssh_keys" {
  description = "Fingerprints (or ids) of SSH keys in the team, which may log in as root: `doctl compute ssh-key list`."
  type        = list(string)

  validation {
    condition     = length(var.ssh_keys) > 0
    error_message = "Expected at least one: without a key nobody can pair the machines."
  }
}

variable "ssh_cidrs" {
  description = "From where SSH is let in, such as [\"203.0.113.7/32\"]. There is no default on purpose."
  type        = list(string)

  validation {
    condition     = length(var.ssh_cidrs) > 0 && alltrue([for one in var.ssh_cidrs : can(cidrhost(one, 0))])
    error_message = "Expected at least one network such as 203.0.113.7/32: without one nobody can pair the machines."
  }
}

variable "redis_cidrs" {
  description = "From where else than the private network the queue may be reached, over TLS: laptops, GPU boxes at home. [\"0.0.0.0/0\"] is everywhere, which TLS and the users' secrets then guard alone."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.redis_cidrs : can(cidrhost(one, 0))])
    error_message = "Expected networks such as 203.0.113.7/32."
  }
}

variable "domain" {
  description = "A domain whose DNS is DigitalOcean's: the certificate is made for a name in it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "Expected a domain such as example.com."
  }
}

variable "hostname" {
  description = "The gateway's name within the domain."
  type        = string
  default     = "tandem"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.hostname))
    error_message = "Expected one label of a name, such as tandem."
  }
}

variable "tandem_version" {
  description = "The release of tandem-rag that each machine installs; from tandem_wheel where that is set."
  type        = string
  default     = "0.1.0"

  validation {
    condition     = can(regex("^[0-9]+(\\.[0-9]+){1,2}([ab]|rc)?[0-9]*$", var.tandem_version))
    error_message = "Expected one version, such as 0.1.0: a range would have machines differ."
  }
}

variable "tandem_wheel" {
  description = "A wheel's address with its digest, https://…whl#sha256=…; empty: tandem_version from the package index."
  type        = string
  default     = ""

  validation {
    condition     = var.tandem_wheel == "" || can(regex("^https://[A-Za-z0-9._~:/?&=%+-]+\\.whl#sha256=[0-9a-f]{64}$", var.tandem_wheel))
    error_message = "Expected https://…whl#sha256= and 64 hexadecimal digits, or nothing."
  }
}

variable "image" {
  description = "What the queue and the gateway run on: a Debian or Ubuntu with Redis 7 and Python 3.11 or newer."
  type        = string
  default     = "ubuntu-24-04-x64"
}

variable "queue_size" {
  description = "The queue's Droplet. Redis holds jobs in memory only as long as they wait and answers for ten minutes."
  type        = string
  default     = "s-1vcpu-2gb"
}

variable "gateway_size" {
  description = "A gateway's Droplet: it holds the documents, their index and the embedding model."
  type        = string
  default     = "s-2vcpu-4gb"
}

variable "gateway_count" {
  description = "How many gateways stand behind the load balancer, each with an index of its own."
  type        = number
  default     = 1

  validation {
    condition     = var.gateway_count >= 1 && var.gateway_count <= 10 && floor(var.gateway_count) == var.gateway_count
    error_message = "Expected 1 to 10."
  }
}

variable "gpu_size" {
  description = "A GPU worker's Droplet."
  type        = string
  default     = "gpu-4000adax1-20gb"

  validation {
    condition     = startswith(var.gpu_size, "gpu-")
    error_message = "Expected a size with a GPU: `doctl compute size list | grep gpu`."
  }
}

variable "gpu_image" {
  description = "DigitalOcean's AI/ML image with NVIDIA's drivers: gpu-h100x1-base for every size with one GPU, gpu-h100x8-base for eight."
  type        = string
  default     = "gpu-h100x1-base"
}

variable "gpu_count" {
  description = "GPU workers that are always there, each billed for as long as it exists. With 0 the first one has to come from scaling.fewest, or from elsewhere: a question that finds no worker is not put into the queue, so it makes none."
  type        = number
  default     = 1

  validation {
    condition     = var.gpu_count >= 0 && var.gpu_count <= 20 && floor(var.gpu_count) == var.gpu_count
    error_message = "Expected 0 to 20."
  }
}

variable "worker_config" {
  description = "A file for `tandem worker --config`: the model and how vLLM runs it; empty: what `--print-config` says."
  type        = string
  default     = ""
}

variable "scaling" {
  description = "GPU workers that come and go with the queue, beside gpu_count. most: never more of them; fewest: never fewer; hours_per_day: what all of them together may run in a UTC day; grow_wait_s: a new job's expected wait from which one more is made; shrink_after_s: so long one less would have done; cooldown_s: between two changes; boot_limit_s: who does not work by then is destroyed."
  type = object({
    most           = optional(number, 0)
    fewest         = optional(number, 0)
    hours_per_day  = optional(number, 8)
    grow_wait_s    = optional(number, 30)
    shrink_after_s = optional(number, 900)
    cooldown_s     = optional(number, 300)
    boot_limit_s   = optional(number, 2700)
  })
  default = {}

  validation {
    condition     = var.scaling.fewest >= 0 && var.scaling.fewest <= var.scaling.most && var.scaling.most <= 20
    error_message = "Expected 0 <= fewest <= most <= 20."
  }
  validation {
    condition     = var.scaling.hours_per_day > 0 && var.scaling.hours_per_day <= 24 * 20
    error_message = "Expected hours_per_day above 0: it bounds what a day can cost."
  }
  validation {
    condition     = min(var.scaling.grow_wait_s, var.scaling.shrink_after_s, var.scaling.cooldown_s) >= 1 && var.scaling.boot_limit_s >= 600
    error_message = "Expected times of at least a second, and of ten minutes for boot_limit_s: vLLM takes long to install."
  }
}
