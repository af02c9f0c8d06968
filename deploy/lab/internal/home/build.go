package home

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles the three programs from the module that the lab is run in.
func Build(ctx context.Context, dir string) error {
	for _, program := range []string{"cloud", "pi-proxy", "node-hook"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", binary(dir, program), "sentinel.home.arpa/"+program)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", program, err)
		}
	}
	return nil
}

func binary(dir, program string) string { return filepath.Join(dir, "bin-"+program) }
