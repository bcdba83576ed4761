// Of each file named: what HCL's own parser reads in it, and how `terraform fmt` would write it. JSON on stdout.
const fs = require("node:fs")
const { parse } = require("@cdktf/hcl2json")
const { format } = require("@cdktf/hcl-tools")

async function main(files) {
  const told = {}
  for (const file of files) {
    const text = fs.readFileSync(file, "utf-8")
    told[file] = { json: await parse(file, text), formatted: await format(text) }
  }
  process.stdout.write(JSON.stringify(told), () => process.exit(0))
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error))
  process.exit(1)
})
