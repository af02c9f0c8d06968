package home

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles the three programs from the module that the lab is run in, with more flags
// of go build.
func Build(ctx context.Context, dir string, more ...string) error {
	for _, program := range []string{"cloud", "pi-proxy", "node-hook"} {
		args := append([]string{"build", "-o", binary(dir, program)}, more...)
		cmd := exec.CommandContext(ctx, "go", append(args, "sentinel.home.arpa/"+program)...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", program, err)
		}
	}
	return nil
}

func binary(dir, program string) string { return filepath.Join(dir, "bin-"+program) }
