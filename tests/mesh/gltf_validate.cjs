// Khronos's validator on one file: its issues as JSON. node gltf_validate.cjs FILE, with NODE_PATH to node_modules.
const fs = require("fs");
const validator = require("gltf-validator");
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))
  .then((report) => console.log(JSON.stringify(report.issues)));
