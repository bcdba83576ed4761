// Objects on stdin, as JSON: what KEDA's own types say against them, one line each. Names that they do not know are told
// too, which the validators let pass.
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as kinds from "@kubernetes-models/keda/keda.sh/v1alpha1";

const folder = dirname(fileURLToPath(import.meta.resolve("@kubernetes-models/keda/keda.sh/v1alpha1")));
const declared = readdirSync(folder).filter((name) => name.endsWith(".d.ts"))
  .map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
const known = new Set([...declared.matchAll(/"?([A-Za-z]+)"?\??:/g)].map((found) => found[1]));
const FREE = new Set(["metadata"]); // a map of the scaler's own names
const OTHERS = new Set(["horizontalPodAutoscalerConfig", "behavior"]); // Kubernetes' own types, checked by the validator

const unknown = (value, where) => value === null || typeof value !== "object" ? [] :
  Object.entries(value).flatMap(([name, inner]) => [
    ...(Array.isArray(value) || known.has(name) ? [] : [`${where}.${name} is not known`]),
    ...(FREE.has(name) || OTHERS.has(name) ? [] : unknown(inner, `${where}.${name}`)),
  ]);

for (const one of JSON.parse(readFileSync(0, "utf8"))) {
  const Kind = kinds[one.kind];
  if (!Kind) { console.log(`${one.kind} is no kind of KEDA's`); continue; }
  try { new Kind(one).validate(); } catch (error) { console.log(`${one.kind}: ${error.message}`); }
  for (const line of unknown(one.spec, "spec")) console.log(`${one.kind}: ${line}`);
}
