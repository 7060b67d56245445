// Standard input ends when whoever started the pack is gone, however that was: nobody is left to judge for.
const end = () => process.exit(1);
process.stdin.on("end", end).on("error", end).resume().unref();
