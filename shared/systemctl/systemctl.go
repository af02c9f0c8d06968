// Package systemctl asks systemd how units stand, by systemctl(1), and changes nothing.
//
// It knows no unit of ours, and must not import a program.
package systemctl

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// within bounds one question.
const within = 5 * time.Second

// Unit is how a unit stands.
type Unit struct {
	Load, Active, File string // such as loaded, active and enabled
	After, Before      []string
}

// Show asks for units; one that is not there has a Load of not-found.
func Show(ctx context.Context, names ...string) (map[string]Unit, error) {
	out, err := run(ctx, append([]string{"show", "--no-pager", "--property=Id,LoadState,ActiveState,UnitFileState,After,Before", "--"}, names...)...)
	if err != nil {
		return nil, err
	}
	return parse(out), nil
}

// Credentials are those that a unit is given, by name, with the file that each comes from.
func Credentials(ctx context.Context, unit string) (map[string]string, error) {
	out, err := run(ctx, "cat", "--no-pager", "--", unit)
	if err != nil {
		return nil, err
	}
	return credentials(out), nil
}

func run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && len(failed.Stderr) > 0 {
		return "", fmt.Errorf("ask systemd: %.200s", strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("ask systemd: %w", err)
	}
	return string(out), nil
}

// parse reads blocks of KEY=VALUE with an empty line between them.
func parse(text string) map[string]Unit {
	all := map[string]Unit{}
	for block := range strings.SplitSeq(text, "\n\n") {
		var u Unit
		id := ""
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Id":
				id = value
			case "LoadState":
				u.Load = value
			case "ActiveState":
				u.Active = value
			case "UnitFileState":
				u.File = value
			case "After":
				u.After = strings.Fields(value)
			case "Before":
				u.Before = strings.Fields(value)
			}
		}
		if id != "" {
			all[id] = u
		}
	}
	return all
}

// credentials reads a unit's file and its drop-ins, one after the other as they count. An empty
// value forgets those before it (systemd.exec(5)).
func credentials(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key = strings.TrimSpace(key); key != "LoadCredential" && key != "LoadCredentialEncrypted" && key != "SetCredential" && key != "SetCredentialEncrypted" {
			continue
		}
		name, file, _ := strings.Cut(strings.TrimSpace(value), ":")
		switch {
		case name == "":
			clear(all)
		case strings.HasPrefix(key, "Set"):
			all[name] = ""
		default:
			all[name] = file
		}
	}
	return all
}
