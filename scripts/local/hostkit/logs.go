package main

import (
	"context"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"
)

// logBound keeps log files small without the writers' help: they append, so a file may be copied and cut under them.
// What is written between the copy and the cut is lost, a price worth paying for one process instead of one per log.
type logBound struct {
	Glob     string `json:"glob"`     // which files; empty for none
	MaxBytes int64  `json:"maxBytes"` // above this a file is moved to FILE.1, whose former content goes
}

const logInterval = 30 * time.Second

func (b logBound) keep(ctx context.Context) {
	if b.Glob == "" || b.MaxBytes <= 0 {
		return
	}
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for {
		b.once()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b logBound) once() {
	paths, err := filepath.Glob(b.Glob)
	if err != nil {
		log.Printf("logs: %v", err)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Size() <= b.MaxBytes {
			continue
		}
		if err := rotate(path); err != nil {
			log.Printf("logs: %s: %v", path, err)
		}
	}
}

func rotate(path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}
