variable "name" {
  description = "What the machine's name begins with."
  type        = string
}

variable "region" {
  description = "The region's slug."
  type        = string
}

variable "vpc_id" {
  description = "The private network's UUID."
  type        = string
}

variable "vpc_cidr" {
  description = "The private network's addresses, which may reach the queue."
  type        = string
}

variable "ssh_keys" {
  description = "Fingerprints or ids of SSH keys that may log in as root."
  type        = list(string)
}

variable "image" {
  description = "A Debian or Ubuntu."
  type        = string
}

variable "size" {
  description = "The Droplet's size."
  type        = string
}

variable "package" {
  description = "What is installed, as PEP 508 writes it."
  type        = string
}

variable "redis_cidrs" {
  description = "Who else may reach the queue; where nobody is named, its certificate names its private address only."
  type        = list(string)
}

variable "tags" {
  description = "Tags of this machine."
  type        = list(string)
}

variable "scaling" {
  description = "When GPU workers come and go; with most = 0 none does."
  type = object({
    most           = number
    fewest         = number
    hours_per_day  = number
    grow_wait_s    = number
    shrink_after_s = number
    cooldown_s     = number
    boot_limit_s   = number
  })
}

variable "scaled" {
  description = "What DigitalOcean is asked for to make one of them."
  type = object({
    region   = string
    size     = string
    image    = string
    vpc_uuid = string
    ssh_keys = list(string)
    tags     = list(string)
  })
}

variable "scaled_user_data" {
  description = "What one of them is started with."
  type        = string
}
