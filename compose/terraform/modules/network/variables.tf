variable "name" {
  description = "What the network, its tags and its firewalls are called by."
  type        = string
}

variable "region" {
  description = "The region's slug."
  type        = string
}

variable "vpc_cidr" {
  description = "The private network's addresses."
  type        = string
}

variable "ssh_cidrs" {
  description = "From where SSH is let in."
  type        = list(string)
}

variable "tags" {
  description = "Each role's tag, by which firewalls and the load balancer know its machines."
  type = object({
    queue   = string
    gateway = string
    gpu     = string
    scaled  = string
  })
}
