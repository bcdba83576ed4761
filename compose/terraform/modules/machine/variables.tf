variable "packages" {
  description = "Of the distribution, beside those that every machine has."
  type        = list(string)
  default     = []
}

variable "settings" {
  description = "What the first start reads as shell variables. No secret: whoever reads the machine's metadata reads it."
  type        = map(string)

  validation {
    condition     = alltrue([for name, value in var.settings : can(regex("^[A-Z_]+$", name)) && can(regex("^[^'\\n]*$", value))])
    error_message = "Expected names of capitals, and values without quotes and line breaks."
  }
}

variable "files" {
  description = "Path on the machine -> content; what lies under /usr/local may be run."
  type        = map(string)
}

variable "start" {
  description = "The file that is run once, at the first start."
  type        = string
}
