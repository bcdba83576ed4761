# The same machine twice: made by Terraform and paired by the operator, or made and paired by the queue's machine, which
# writes its public key where the mark stands.
module "machine" {
  source   = "../machine"
  for_each = { fixed = "", scaled = "@QUEUE_KEY@" }

  # Triton compiles against Python's headers while vLLM starts.
  packages = ["build-essential", "python3-dev"]
  settings = { PACKAGE = var.package, QUEUE_CIDR = var.queue_cidr, QUEUE_KEY = each.value }
  files = {
    "/etc/tandem/worker.yaml"      = var.worker_config
    "/usr/local/bin/tandem-join"   = file("${path.module}/../../boot/join.sh")
    "/usr/local/lib/tandem/told"   = file("${path.module}/../../boot/told.sh")
    "/usr/local/lib/tandem/worker" = file("${path.module}/../../boot/worker.sh")
  }
  start = "/usr/local/lib/tandem/worker"
}

resource "digitalocean_droplet" "this" {
  count = var.worker_count

  name     = "${var.name}-gpu-${count.index}"
  region   = var.region
  size     = var.size
  image    = var.image
  vpc_uuid = var.vpc_id
  ssh_keys = var.ssh_keys
  tags     = var.tags
  # A job under way is finished or handed back before the machine goes.
  graceful_shutdown = true
  monitoring        = true
  user_data         = module.machine["fixed"].user_data

  lifecycle {
    # Either would make a new machine, which had to be paired again.
    ignore_changes = [ssh_keys, user_data]
  }
}
