locals {
  # PEP 508: `tandem-rag==0.1.0`, `tandem-rag[server] @ https://…whl#sha256=…`
  pinned = var.tandem_wheel == "" ? "==${var.tandem_version}" : " @ ${var.tandem_wheel}"
  tags = {
    queue   = "${var.name}-queue"
    gateway = "${var.name}-gateway"
    gpu     = "${var.name}-gpu"
    scaled  = "${var.name}-gpu-scaled"
  }
}

module "network" {
  source = "./modules/network"

  name      = var.name
  region    = var.region
  vpc_cidr  = var.vpc_cidr
  ssh_cidrs = var.ssh_cidrs
  tags      = local.tags
}

module "gpu_worker" {
  source = "./modules/gpu_worker"

  name          = var.name
  region        = var.region
  vpc_id        = module.network.vpc_id
  ssh_keys      = var.ssh_keys
  image         = var.gpu_image
  size          = var.gpu_size
  worker_count  = var.gpu_count
  package       = "tandem-rag[server]${local.pinned}"
  worker_config = var.worker_config == "" ? "" : file(var.worker_config)
  queue_cidr    = module.network.vpc_cidr
  tags          = [module.network.tags.all, module.network.tags.gpu]
}

module "queue" {
  source = "./modules/queue"

  name        = var.name
  region      = var.region
  vpc_id      = module.network.vpc_id
  vpc_cidr    = module.network.vpc_cidr
  ssh_keys    = var.ssh_keys
  image       = var.image
  size        = var.queue_size
  package     = "tandem-rag${local.pinned}"
  redis_cidrs = var.redis_cidrs
  tags        = [module.network.tags.all, module.network.tags.queue]
  scaling     = var.scaling
  scaled = {
    region   = var.region
    size     = var.gpu_size
    image    = var.gpu_image
    vpc_uuid = module.network.vpc_id
    ssh_keys = var.ssh_keys
    tags     = [module.network.tags.all, module.network.tags.gpu, module.network.tags.scaled]
  }
  scaled_user_data = module.gpu_worker.scaled_user_data
}

module "gateway" {
  source = "./modules/gateway"

  name          = var.name
  region        = var.region
  vpc_id        = module.network.vpc_id
  ssh_keys      = var.ssh_keys
  image         = var.image
  size          = var.gateway_size
  gateway_count = var.gateway_count
  package       = "tandem-rag${local.pinned}"
  domain        = var.domain
  hostname      = var.hostname
  tag           = module.network.tags.gateway
  tags          = [module.network.tags.all, module.network.tags.gateway]
}
