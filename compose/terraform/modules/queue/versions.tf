terraform {
  required_version = ">= 1.9"

  required_providers {
    digitalocean = {
      source = "digitalocean/digitalocean"
    }
  }
}
