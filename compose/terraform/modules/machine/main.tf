# What a machine is started with: JSON in YAML, so no value can end what it stands in.
locals {
  boot = "${path.module}/../../boot"
  files = merge(var.files, {
    "/etc/apt/apt.conf.d/52tandem"          = file("${local.boot}/upgrades.conf")
    "/etc/ssh/sshd_config.d/10-tandem.conf" = file("${local.boot}/sshd.conf")
    "/usr/local/bin/tandem"                 = file("${local.boot}/tandem.sh")
    "/usr/local/lib/tandem/install"         = file("${local.boot}/install.sh")
  })
  settings = join("", [for name, value in var.settings : "${name}='${value}'\n"])
}

output "user_data" {
  description = "The cloud-config."
  value = templatefile("${path.module}/cloud-config.yaml.tftpl", {
    packages = concat(["python3-venv", "unattended-upgrades"], var.packages)
    start    = [var.start]
    files = concat(
      [{ path = "/etc/tandem/machine", permissions = "0644", encoding = "text/plain", content = local.settings }],
      [for path, content in local.files : {
        path        = path
        permissions = startswith(path, "/usr/local/") ? "0755" : "0644"
        encoding    = "gz+b64"
        content     = base64gzip(content)
      }],
    )
  })
}
