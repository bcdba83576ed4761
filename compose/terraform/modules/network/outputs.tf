output "vpc_id" {
  description = "The private network's UUID."
  value       = digitalocean_vpc.this.id
}

output "vpc_cidr" {
  description = "The private network's addresses."
  value       = digitalocean_vpc.this.ip_range
}

output "tags" {
  description = "The tags that exist now: `all`, and one for each role."
  value       = merge({ all = digitalocean_tag.all.name }, { for role, tag in digitalocean_tag.role : role => tag.name })
}
