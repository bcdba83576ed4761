# Applied for real but for the cloud: what the provider would answer is made up.
mock_provider "digitalocean" {
  mock_resource "digitalocean_droplet" {
    defaults = {
      id                   = "101"
      ipv4_address         = "198.51.100.7"
      ipv4_address_private = "10.77.0.7"
    }
  }
  mock_resource "digitalocean_vpc" {
    defaults = { id = "5a4981aa-9653-4bd1-bef5-d6bff52042e4" }
  }
  mock_resource "digitalocean_loadbalancer" {
    defaults = { ip = "198.51.100.9" }
  }
  mock_resource "digitalocean_record" {
    defaults = { fqdn = "tandem.example.com" }
  }
}

# What else must be said is said by terraform.tfvars.example.
run "whole" {
  command = apply

  variables {
    redis_cidrs = ["203.0.113.8/32"]
    scaling     = { most = 3 }
  }
}
