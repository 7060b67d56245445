package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// withConfig reads the JSON file named by --config, refusing fields it does not know.
func withConfig[C any](args []string, run func(C) error) error {
	if len(args) != 2 || args[0] != "--config" {
		return fmt.Errorf("expected --config FILE, got %q", args)
	}
	file, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer file.Close()
	var config C
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	return run(config)
}
