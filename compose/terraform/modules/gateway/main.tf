locals {
  port     = 8000
  hostname = "${var.hostname}.${var.domain}"
}

module "machine" {
  source = "../machine"

  packages = ["rsync"]
  settings = { PACKAGE = var.package, PORT = tostring(local.port) }
  files = {
    "/usr/local/bin/tandem-join"    = file("${path.module}/../../boot/join.sh")
    "/usr/local/lib/tandem/gateway" = file("${path.module}/../../boot/gateway.sh")
  }
  start = "/usr/local/lib/tandem/gateway"
}

resource "digitalocean_droplet" "this" {
  count = var.gateway_count

  name              = "${var.name}-gateway-${count.index}"
  region            = var.region
  size              = var.size
  image             = var.image
  vpc_uuid          = var.vpc_id
  ssh_keys          = var.ssh_keys
  tags              = var.tags
  graceful_shutdown = true
  monitoring        = true
  user_data         = module.machine.user_data

  lifecycle {
    # Either would make a new machine, without its index and its tokens.
    ignore_changes = [ssh_keys, user_data]
  }
}

# Let's Encrypt's, renewed by DigitalOcean, which keeps the private key: none is in the state.
resource "digitalocean_certificate" "this" {
  name    = var.name
  type    = "lets_encrypt"
  domains = [local.hostname]

  lifecycle {
    create_before_destroy = true
  }
}

resource "digitalocean_loadbalancer" "this" {
  name        = var.name
  region      = var.region
  vpc_uuid    = var.vpc_id
  droplet_tag = var.tag
  # Ours is below.
  disable_lets_encrypt_dns_records = true
  # An answer that is being made may be silent for RESULT_TIMEOUT_SEC, and a call over MCP for 40 s.
  http_idle_timeout_seconds = 600

  forwarding_rule {
    entry_protocol   = "https"
    entry_port       = 443
    target_protocol  = "http"
    target_port      = local.port
    certificate_name = digitalocean_certificate.this.name
  }

  healthcheck {
    protocol = "http"
    port     = local.port
    path     = "/health"
  }

  # A conversation, and an answer that is read on, are one gateway's.
  sticky_sessions {
    type               = "cookies"
    cookie_name        = "tandem"
    cookie_ttl_seconds = 3600
  }
}

resource "digitalocean_record" "this" {
  domain = var.domain
  type   = "A"
  name   = var.hostname
  value  = digitalocean_loadbalancer.this.ip
  ttl    = 300
}

resource "digitalocean_firewall" "this" {
  name = "${var.name}-gateway"
  tags = [var.tag]

  inbound_rule {
    protocol                  = "tcp"
    port_range                = tostring(local.port)
    source_load_balancer_uids = [digitalocean_loadbalancer.this.id]
  }
}
