package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outcome is what came of a break.
type outcome int

const (
	killed outcome = iota // a test failed, or never ended
	lived
	uncompiled
)

// bench tests the breaks of one package on a copy of its directory.
type bench struct {
	pkg, dir string   // its import path from the module's root, and the room for all that is written
	args     []string // of the tests
	limit    int      // seconds of processor time that they may take
	stories  stories
}

// choice is how much of a package is tested, where all of it takes hours.
type choice struct {
	files  string // their names; empty: all
	checks int    // of random histories; 0: as many as the tests like
	oneOf  int    // one of so many places; 1: each
}

func (c choice) leavesOut(m *mutant) bool {
	return c.files != "" && !slices.Contains(strings.Split(c.files, ","), filepath.Base(m.file))
}

func (c choice) some(all []*mutant) (some []*mutant) {
	for i := 0; i < len(all); i += max(c.oneOf, 1) {
		some = append(some, all[i])
	}
	return some
}

// unleash lets the mutants of one package loose.
func unleash(pkg string, workers int, only choice) ([]*mutant, error) {
	found, err := list(pkg)
	if err != nil {
		return nil, err
	}
	found = only.some(slices.DeleteFunc(found, only.leavesOut))
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, fmt.Errorf("make room for the breaks: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &bench{pkg: pkg, dir: dir, limit: 600}
	if err := b.prepare(only); err != nil {
		return nil, err
	}
	errs := make([]error, workers)
	queue := make(chan *mutant)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for m := range queue {
				if errs[w] == nil {
					m.came, errs[w] = b.test(fmt.Sprint(w), m)
					if m.came == lived {
						fmt.Fprintln(os.Stderr, "lives:", m)
					}
				}
			}
		})
	}
	for _, m := range found {
		queue <- m
	}
	close(queue)
	wait.Wait()
	return found, errors.Join(errs...)
}

// prepare copies what the tests read and sees that they pass unbroken. What they take of the
// processor, unlike what they take of the day, does not depend on what else runs.
func (b *bench) prepare(only choice) error {
	if err := os.CopyFS(b.place(), os.DirFS(b.pkg)); err != nil {
		return fmt.Errorf("copy %s: %w", b.pkg, err)
	}
	b.args = []string{"-test.failfast", "-test.timeout", "0"}
	tests, err := filepath.Glob(filepath.Join(b.pkg, "*_test.go"))
	if err != nil {
		return fmt.Errorf("look for the tests of %s: %w", b.pkg, err)
	}
	if slices.ContainsFunc(tests, importsRapid) { // the smallest history that fails is of no interest
		b.args = append(b.args, "-rapid.shrinktime", "1ms", "-rapid.nofailfile")
		if only.checks > 0 {
			b.args = append(b.args, "-rapid.seed", "1", "-rapid.checks", strconv.Itoa(only.checks))
		}
	}
	if text, err := b.compile("whole", nil); err != nil {
		return fmt.Errorf("compile %s unbroken: %w\n%s", b.pkg, err, text)
	}
	took, err := b.run("whole")
	if err != nil {
		return fmt.Errorf("the tests of %s fail unbroken: %w", b.pkg, err)
	}
	b.limit = 10 + int(10*took.Seconds())
	b.stories, err = b.explore()
	return err
}

func importsRapid(test string) bool {
	text, err := os.ReadFile(test)
	return err == nil && bytes.Contains(text, []byte(`"pgregory.net/rapid"`))
}

// place is where the copy is, under the name that the package has.
func (b *bench) place() string { return filepath.Join(b.dir, filepath.Base(b.pkg)) }

// test breaks the package and runs its tests.
func (b *bench) test(name string, m *mutant) (outcome, error) {
	var failed *exec.ExitError
	switch text, err := b.compile(name, m); {
	case errors.As(err, &failed): // its own fault, if the package without it compiles
		if _, err := b.compile(name, nil); err != nil {
			return uncompiled, fmt.Errorf("compile %s unbroken: %w\n%s", b.pkg, err, text)
		}
		return uncompiled, nil
	case err != nil:
		return uncompiled, err
	}
	for _, tests := range b.choose(m) {
		_, err := b.run(name, tests...)
		switch {
		case errors.As(err, &failed):
			return killed, nil
		case err != nil:
			return killed, fmt.Errorf("run the tests of %s: %w", b.pkg, err)
		}
	}
	return lived, nil
}

// choose is what is run of the tests, in turn: of the stories those that come by, then the rest.
func (b *bench) choose(m *mutant) [][]string {
	if b.stories.test == "" {
		return [][]string{nil}
	}
	rest := []string{"-test.skip", exactly(b.stories.test)}
	by := b.stories.by(m)
	if len(by) == 0 {
		return [][]string{rest}
	}
	return [][]string{{"-test.run", exactly(b.stories.test) + "/" + exactly(by...)}, rest}
}

// compile makes the package's tests, with a break if there is one.
func (b *bench) compile(name string, m *mutant, how ...string) ([]byte, error) {
	args := append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", b.binary(name)}, how...)
	if m != nil {
		overlay, err := b.overlay(name, m)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", overlay)
	}
	return exec.Command("go", append(args, "./"+b.pkg)...).CombinedOutput()
}

func (b *bench) binary(name string) string { return filepath.Join(b.dir, name+".test") }

// overlay has the compiler read the broken file instead of the one that is there.
func (b *bench) overlay(name string, m *mutant) (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", fmt.Errorf("break %s: %w", m.file, err)
	}
	if rest := text[m.at:]; operator(rest) != m.is {
		return "", fmt.Errorf("break %s: it was changed meanwhile", m.file)
	}
	end := m.at + len(m.is.String())
	broken := filepath.Join(b.dir, name+".go")
	if err := os.WriteFile(broken, slices.Concat(text[:m.at], []byte(m.becomes.String()), text[end:]), 0o600); err != nil {
		return "", fmt.Errorf("break %s: %w", m.file, err)
	}
	whole, err := filepath.Abs(m.file)
	if err != nil {
		return "", fmt.Errorf("break %s: %w", m.file, err)
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {whole: broken}})
	if err != nil {
		return "", fmt.Errorf("break %s: %w", m.file, err)
	}
	path := filepath.Join(b.dir, name+".json")
	return path, os.WriteFile(path, data, 0o600)
}

// run runs the tests and tells how much of the processor they took. A break that never ends
// is stopped by the limit, and one that fills the memory at 4 GB.
func (b *bench) run(name string, tests ...string) (time.Duration, error) {
	cmd := b.command(name, tests...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out.String())
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
