package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// many is how many subtests a test has that is not run whole for each break.
const many = 50

// stories are the subtests of one test, and what each of them reaches of the package.
type stories struct {
	test    string // the name; empty: no test has many
	reaches map[string][]block
}

// block is a piece of code without a branch.
type block struct {
	file                                       string
	startLine, startColumn, endLine, endColumn int
	reached                                    bool
}

var covered = regexp.MustCompile(`(?m)^(.+):(\d+)\.(\d+),(\d+)\.(\d+) \d+ (\d+)$`)

// blocks are what a coverage profile lists.
func blocks(profile string) []block {
	var list []block
	for _, m := range covered.FindAllStringSubmatch(profile, -1) {
		k := block{file: filepath.Base(m[1]), reached: m[6] != "0"}
		for i, to := range []*int{&k.startLine, &k.startColumn, &k.endLine, &k.endColumn} {
			*to, _ = strconv.Atoi(m[2+i])
		}
		list = append(list, k)
	}
	return list
}

var subtest = regexp.MustCompile(`(?m)^=== RUN   (\w+)/(\S+)$`)

// explore lets each subtest of the test that has most of them run alone, to see what it reaches.
func (b *bench) explore() (stories, error) {
	var s stories
	if text, err := b.compile("reach", nil, "-covermode=set", "-coverpkg=./"+b.pkg); err != nil {
		return s, fmt.Errorf("compile %s to see what its tests reach: %w\n%s", b.pkg, err, text)
	}
	out, err := b.command("reach", "-test.v").Output()
	if err != nil {
		return s, fmt.Errorf("list the tests of %s: %w", b.pkg, err)
	}
	names := map[string][]string{}
	for _, m := range subtest.FindAllSubmatch(out, -1) {
		if !bytes.ContainsRune(m[2], '/') {
			names[string(m[1])] = append(names[string(m[1])], string(m[2]))
		}
	}
	for test, subs := range names {
		if len(subs) >= many && len(subs) > len(names[s.test]) {
			s.test = test
		}
	}
	s.reaches = map[string][]block{}
	for _, sub := range names[s.test] {
		profile := filepath.Join(b.dir, "reach.out")
		if text, err := b.command("reach", "-test.run", exactly(s.test)+"/"+exactly(sub), "-test.coverprofile", profile).CombinedOutput(); err != nil {
			return s, fmt.Errorf("see what %s/%s reaches: %w\n%s", s.test, sub, err, text)
		}
		text, err := os.ReadFile(profile)
		if err != nil {
			return s, fmt.Errorf("see what %s/%s reaches: %w", s.test, sub, err)
		}
		s.reaches[sub] = blocks(string(text))
	}
	return s, nil
}

// by are the subtests that come by a break; the others cannot notice it. Of what coverage
// knows nothing, as of a switch's conditions, they are those that reach its function.
func (s stories) by(m *mutant) []string {
	var names []string
	for name, blocks := range s.reaches {
		if m.reachedBy(blocks) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *mutant) reachedBy(blocks []block) bool {
	known, here, within := false, false, false
	for _, k := range blocks {
		if k.file != filepath.Base(m.file) || k.startLine < m.first || k.endLine > m.last {
			continue
		}
		within = within || k.reached
		if k.holds(m.row, m.column) {
			known = true
			here = here || k.reached
		}
	}
	return here || !known && within
}

func (k block) holds(line, column int) bool {
	begun := k.startLine < line || k.startLine == line && k.startColumn <= column
	ended := k.endLine < line || k.endLine == line && k.endColumn < column
	return begun && !ended
}

// exactly is the pattern of just one name.
func exactly(name ...string) string {
	for i, n := range name {
		name[i] = regexp.QuoteMeta(n)
	}
	return "^(" + strings.Join(name, "|") + ")$"
}

// command runs a test binary within the limits of time and memory.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	script := fmt.Sprintf(`ulimit -t %d; ulimit -v 4000000; exec "$0" "$@"`, b.limit)
	cmd := exec.Command("sh", append([]string{"-c", script, b.binary(name)}, append(args, b.args...)...)...)
	cmd.Dir = b.place()
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return cmd
}
