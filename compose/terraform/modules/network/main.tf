resource "digitalocean_vpc" "this" {
  name     = var.name
  region   = var.region
  ip_range = var.vpc_cidr
}

resource "digitalocean_tag" "all" {
  name = var.name
}

resource "digitalocean_tag" "role" {
  for_each = var.tags

  name = each.value
}

# What every machine has: ssh from the operator, and the way out, without which nothing can be installed. A Droplet with
# a firewall is closed but for what firewalls open; each role's own stands in its module.
resource "digitalocean_firewall" "all" {
  name = "${var.name}-all"
  tags = [digitalocean_tag.all.name]

  inbound_rule {
    protocol         = "tcp"
    port_range       = "22"
    source_addresses = var.ssh_cidrs
  }

  outbound_rule {
    protocol              = "tcp"
    port_range            = "1-65535"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }

  outbound_rule {
    protocol              = "udp"
    port_range            = "1-65535"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }

  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }
}

# The queue's machine pairs the GPU workers that it makes, and has them end. The others open nothing to anybody.
resource "digitalocean_firewall" "scaled" {
  name = "${var.name}-gpu-scaled"
  tags = [digitalocean_tag.role["scaled"].name]

  inbound_rule {
    protocol    = "tcp"
    port_range  = "22"
    source_tags = [digitalocean_tag.role["queue"].name]
  }
}
