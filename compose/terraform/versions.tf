terraform {
  required_version = ">= 1.9"

  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "2.71.0"
    }
  }

  # The state names every machine, its addresses and who may reach it, and whoever can write it decides what the next
  # apply destroys: keep it private, also though no secret of ours is in it. For more than one operator, in a Space
  # (DigitalOcean's object storage, S3-compatible), its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY:
  #
  # backend "s3" {
  #   bucket                      = "YOUR-SPACE"
  #   key                         = "tandem/terraform.tfstate"
  #   endpoints                   = { s3 = "https://fra1.digitaloceanspaces.com" }
  #   region                      = "us-east-1" # any name that the client knows; the endpoint decides
  #   use_lockfile                = true
  #   skip_credentials_validation = true
  #   skip_metadata_api_check     = true
  #   skip_region_validation      = true
  #   skip_requesting_account_id  = true
  #   skip_s3_checksum            = true
  # }
}

# The token comes from DIGITALOCEAN_TOKEN in the environment and is in no file.
provider "digitalocean" {}
