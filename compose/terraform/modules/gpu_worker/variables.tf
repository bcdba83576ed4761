variable "name" {
  description = "What the machines' names begin with."
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
  description = "An image with NVIDIA's drivers."
  type        = string
}

variable "size" {
  description = "A Droplet's size that has a GPU."
  type        = string
}

variable "worker_count" {
  description = "How many there are, always."
  type        = number
}

variable "package" {
  description = "What is installed, as PEP 508 writes it."
  type        = string
}

variable "worker_config" {
  description = "What `tandem worker --config` reads; empty: its own default."
  type        = string
}

variable "queue_cidr" {
  description = "From where the queue's machine may log in to one that it made."
  type        = string
}

variable "tags" {
  description = "Tags of these machines; firewalls go by them."
  type        = list(string)
}
