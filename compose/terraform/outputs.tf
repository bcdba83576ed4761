output "url" {
  description = "Where the gateway answers, to who sends a token."
  value       = module.gateway.url
}

output "load_balancer_address" {
  description = "The load balancer's public address."
  value       = module.gateway.load_balancer_address
}

output "redis_address" {
  description = "The queue within the private network. Who may use it is said by pairing, so no secret is here."
  value       = "rediss://${module.queue.private_address}:6379"
}

output "redis_public_address" {
  description = "The queue as laptops reach it; null where redis_cidrs is empty."
  value       = length(var.redis_cidrs) > 0 ? "rediss://${module.queue.public_address}:6379" : null
}

output "queue" {
  description = "The queue's machine, for ssh."
  value       = module.queue.public_address
}

output "gateways" {
  description = "The gateways' machines, for ssh."
  value       = module.gateway.public_addresses
}

output "gpu_workers" {
  description = "The GPU workers that are always there, for ssh. Those that come and go: `doctl compute droplet list --tag-name NAME-gpu-scaled`."
  value       = module.gpu_worker.public_addresses
}

output "pairing" {
  description = "What to run once, when the machines have started: each line pairs one of them with the queue."
  value = concat(
    [for one in module.gpu_worker.public_addresses : "ssh root@${module.queue.public_address} tandem pair --role worker | ssh root@${one} tandem-join worker"],
    [for one in module.gateway.public_addresses : "ssh root@${module.queue.public_address} tandem pair --role bridge | ssh root@${one} tandem-join daemon"],
  )
}
