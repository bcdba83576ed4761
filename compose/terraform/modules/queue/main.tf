locals {
  scaling = "${path.module}/../../scaling"
}

module "machine" {
  source = "../machine"

  settings = { PACKAGE = var.package, IS_PUBLIC = tostring(length(var.redis_cidrs) > 0) }
  files = {
    "/etc/systemd/system/tandem-scaling.service"    = file("${local.scaling}/tandem-scaling.service")
    "/etc/systemd/system/tandem-scaling.timer"      = file("${local.scaling}/tandem-scaling.timer")
    "/etc/tandem/scaled.yaml"                       = var.scaled_user_data
    "/etc/tandem/scaling.json"                      = jsonencode({ limits = var.scaling, scaled = var.scaled })
    "/usr/local/lib/tandem/queue"                   = file("${path.module}/../../boot/queue.sh")
    "/usr/local/lib/tandem/scaling/decision.py"     = file("${local.scaling}/decision.py")
    "/usr/local/lib/tandem/scaling/digitalocean.py" = file("${local.scaling}/digitalocean.py")
    "/usr/local/lib/tandem/scaling/machines.py"     = file("${local.scaling}/machines.py")
    "/usr/local/lib/tandem/scaling/scale.py"        = file("${local.scaling}/scale.py")
  }
  start = "/usr/local/lib/tandem/queue"
}

resource "digitalocean_droplet" "this" {
  name              = "${var.name}-queue"
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
    # A new key, or one line of user data, would make a new machine, and with it new certificates: every other machine
    # would have to be paired again. `terraform apply -replace=module.queue.digitalocean_droplet.this` does it on purpose.
    ignore_changes = [ssh_keys, user_data]

    precondition {
      condition     = length(module.machine.user_data) <= 65536
      error_message = "DigitalOcean takes 64 KiB of user data: make the file of worker_config smaller."
    }
  }
}

resource "digitalocean_firewall" "this" {
  name        = "${var.name}-queue"
  droplet_ids = [digitalocean_droplet.this.id]

  inbound_rule {
    protocol         = "tcp"
    port_range       = "6379"
    source_addresses = concat([var.vpc_cidr], var.redis_cidrs)
  }
}
