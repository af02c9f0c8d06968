package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	ours     = regexp.MustCompile(`^(?:\$ )?(?:sudo )?(?:/usr/bin/)?(sentinel-(?:cloud|pi|node))((?: [^|;&#]*)?)`)
	codeSpan = regexp.MustCompile("`+([^`\n]+)`+")
	optional = regexp.MustCompile(`\[[^\]]*\]`)
	inShell  = regexp.MustCompile(`"?\$\([^)]*\)"?`)
	link     = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// command is one that a document tells people to type.
type command struct {
	program string
	args    []string
	where   string
}

// commands finds them in a document: a line of a block, or a span of code, that begins with a program of ours. What
// stands for something else (VERB) is none.
func commands(name, text string) (all []command) {
	take := func(line string) {
		m := ours.FindStringSubmatch(inShell.ReplaceAllString(strings.TrimSpace(line), "onbattery")) // such as basename's
		if m == nil || strings.HasPrefix(m[2], " (") {
			return
		}
		rest := strings.NewReplacer("'", "", `"`, "", ` \`, "").Replace(optional.ReplaceAllString(m[2], ""))
		args := strings.Fields(rest)
		if len(args) == 0 || args[0] == "VERB" || args[0] == "run" && m[1] != "sentinel-node" {
			return
		}
		all = append(all, command{m[1], args, name + ": " + strings.TrimSpace(line)})
	}
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		if m[1] != "" && m[1] != "sh" {
			continue
		}
		for line := range strings.Lines(m[2]) {
			take(line)
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		take(m[1])
	}
	// The README's table of verbs leaves the program out.
	_, table, _ := strings.Cut(text, "\n## Operate\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") && len(cells) == 2 {
			for _, m := range codeSpan.FindAllStringSubmatch(cells[0], -1) {
				take("sentinel-cloud " + m[1])
			}
		}
	}
	return all
}

// understood has the program read the command line, with nothing to talk to: it then has bad news, or help. Its exit code
// tells a command that it does not know.
func understood(t *testing.T, bin string, c command) error {
	t.Helper()
	args := slices.Clone(c.args)
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	switch {
	case c.program == "sentinel-node":
		args = append(args, "--help") // it has no verb that is safe to run, and knows its words without
		if known := []string{"run", "announce", "check-config", "key", "version", "doctor"}; !slices.Contains(known, args[0]) && !strings.HasPrefix(args[0], "-") {
			return errors.New("no such verb")
		}
	case slices.Contains(args, "--watch"):
		args = append(args, "--help") // it would wait for a brain
	case !slices.Contains(args, "--help"):
		args = append([]string{"--config", nowhere, "--socket", nowhere}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, c.program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	if err != nil {
		return errors.New(err.Error() + "\n" + out.String())
	}
	return nil
}

// TestDocsKnowTheCommands has each command line of the README and the guides read by the program that it is for.
func TestDocsKnowTheCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three programs")
	}
	bin := t.TempDir()
	for program, pkg := range map[string]string{"sentinel-cloud": "cloud", "sentinel-pi": "pi-proxy", "sentinel-node": "node-hook"} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, program), "sentinel.home.arpa/"+pkg).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", pkg, err, out)
		}
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range append(files, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands(filepath.Base(name), string(text)) {
			seen[c.program]++
			if err := understood(t, bin, c); err != nil {
				t.Errorf("%s\n%v", c.where, err)
			}
		}
	}
	if seen["sentinel-cloud"] < 40 || seen["sentinel-pi"] < 3 || seen["sentinel-node"] < 1 {
		t.Errorf("only %v were found", seen)
	}
	t.Logf("%v", seen)
	for _, wrong := range []string{"sentinel-cloud nosuch", "sudo sentinel-cloud mute pve2 --four 30m", "sentinel-cloud plan check --network-on-ups maybe",
		"sentinel-pi evnt onbattery", "sentinel-node shout", "sudo sentinel-cloud test call --contakt Alex", "sentinel-cloud ack"} {
		found := commands("", "`"+wrong+"`")
		if len(found) != 1 || understood(t, bin, found[0]) == nil {
			t.Errorf("%s was not noticed", wrong)
		}
	}
}

// slug is a heading's anchor.
func slug(title string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case r == ' ':
			out.WriteRune('-')
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// TestDocsLinksLeadSomewhere: each link between the documents is to a file that is there, and to a heading in it.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, name := range append(files, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			followed++
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", filepath.Base(name), m[1])
				continue
			}
			if anchor == "" {
				continue
			}
			there, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(heading.FindAllStringSubmatch(string(there), -1), func(h []string) bool { return slug(h[1]) == anchor }) {
				t.Errorf("%s: %s has no such heading", filepath.Base(name), m[1])
			}
		}
	}
	if followed < 20 {
		t.Errorf("only %d links were followed", followed)
	}
}
