output "private_address" {
  description = "Within the private network."
  value       = digitalocean_droplet.this.ipv4_address_private
}

output "public_address" {
  description = "For ssh, and for the queue where redis_cidrs names somebody."
  value       = digitalocean_droplet.this.ipv4_address
}
