// The engine starts the first `node` on PATH, whatever package.json asks for; an old one would only say that it does not
// know the extension ".ts".
if (!process.features.typescript)
  throw new Error(
    `policy pack: found Node.js ${process.version} (${process.execPath}) first on PATH; 24 is needed, which runs TypeScript`,
  );

// A static import would be resolved before the line above. The engine's loader takes this file by `require`, which knows
// no top-level await and compiles TypeScript with its own compiler; an import leaves that to Node. If it fails, the
// loader's handler of unhandled rejections says so and ends the process.
void import("./pack.ts");
