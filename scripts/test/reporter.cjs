// Mocha's spec reporter, which also leaves its counts in the file that IAM_HA_TEST_STATS names.
const { writeFileSync } = require("node:fs");
const Mocha = require("mocha");

module.exports = class extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once("end", () => {
      const { passes, failures, pending } = this.stats;
      if (process.env.IAM_HA_TEST_STATS)
        writeFileSync(process.env.IAM_HA_TEST_STATS, JSON.stringify({ passes, failures, pending }));
    });
  }
};
