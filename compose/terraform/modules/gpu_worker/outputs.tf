output "public_addresses" {
  description = "The machines, for ssh."
  value       = digitalocean_droplet.this[*].ipv4_address
}

output "scaled_user_data" {
  description = "What a machine is started with that the queue's machine makes; @QUEUE_KEY@ stands for its public key."
  value       = module.machine["scaled"].user_data
}
