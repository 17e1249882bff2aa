// Whether a DAppNode would take the package, and its versions are the program's.
//
//     node dappnode.mjs CHECKOUT
import { readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import {
  validateDappnodeCompose,
  validateManifestSchema,
  validateSetupWizardSchema,
} from "@dappnode/schemas";
import { load } from "js-yaml";

const checkout = process.argv[2];
const text = (...path) => readFileSync(join(checkout, ...path), "utf8");
const manifest = JSON.parse(text("packaging/dappnode/dappnode_package.json"));
const compose = load(text("packaging/dappnode/docker-compose.yml"));
const wizard = load(text("packaging/dappnode/setup-wizard.yml"));

validateManifestSchema(manifest);
validateDappnodeCompose(compose, manifest);
validateSetupWizardSchema(wizard);

const wrong = [];
const version = /^version = "(.*)"$/m.exec(text("Cargo.toml"))[1];
if (manifest.version !== version || manifest.upstreamVersion !== `v${version}`) {
  wrong.push(`the manifest says ${manifest.version} and ${manifest.upstreamVersion}, Cargo.toml ${version}`);
}
for (const [name, service] of Object.entries(compose.services)) {
  // As a DAppNode names the image of a service when it loads it.
  const image = `${name}.${manifest.name}:${version}`;
  if (service.image !== image) wrong.push(`the image is ${service.image}, expected ${image}`);
  if (!existsSync(join(checkout, "packaging/dappnode", service.build.context, service.build.dockerfile))) {
    wrong.push(`there is no ${service.build.dockerfile}`);
  }
}
for (const field of wizard.fields) {
  const { service, name } = field.target;
  if (!(name in (compose.services[service]?.environment ?? {}))) {
    wrong.push(`the question "${field.title}" sets ${name}, which ${service} does not have`);
  }
}
for (const { service, path } of manifest.backup) {
  const volumes = compose.services[service].volumes.map((volume) => volume.split(":")[1]);
  if (!volumes.some((folder) => path.startsWith(`${folder}/`))) {
    wrong.push(`${path} is backed up, and in no volume`);
  }
}
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
