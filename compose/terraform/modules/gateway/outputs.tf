output "url" {
  description = "Where the gateway answers."
  value       = "https://${digitalocean_record.this.fqdn}"
}

output "load_balancer_address" {
  description = "The load balancer's public address."
  value       = digitalocean_loadbalancer.this.ip
}

output "public_addresses" {
  description = "The machines, for ssh."
  value       = digitalocean_droplet.this[*].ipv4_address
}
