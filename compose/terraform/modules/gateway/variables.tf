variable "name" {
  description = "What the machines, the load balancer and the certificate are called by."
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

variable "ssh_keys" {
  description = "Fingerprints or ids of SSH keys that may log in as root."
  type        = list(string)
}

variable "image" {
  description = "A Debian or Ubuntu."
  type        = string
}

variable "size" {
  description = "A Droplet's size."
  type        = string
}

variable "gateway_count" {
  description = "How many there are."
  type        = number
}

variable "package" {
  description = "What is installed, as PEP 508 writes it."
  type        = string
}

variable "domain" {
  description = "A domain whose DNS is DigitalOcean's."
  type        = string
}

variable "hostname" {
  description = "The gateway's name within the domain."
  type        = string
}

variable "tag" {
  description = "The tag by which the load balancer and the firewall know the gateways."
  type        = string
}

variable "tags" {
  description = "All tags of these machines."
  type        = list(string)
}
