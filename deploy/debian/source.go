package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// source is what is built: its version and when it was written.
type source struct {
	version string
	at      time.Time
	log     []release
}

// versioned is what dpkg takes for a version without an epoch.
var versioned = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*$`)

// look finds out what is built. A commit with the tag v1.2.3 is version 1.2.3. Any other
// comes before the version at the head of the changelog, or after it if that is out already,
// and carries its time and name.
func look(ctx context.Context, version string) (source, error) {
	text, err := os.ReadFile("docs/CHANGELOG.md")
	if err != nil {
		return source{}, err
	}
	s := source{log: releases(string(text))}
	if len(s.log) == 0 {
		return source{}, fmt.Errorf("docs/CHANGELOG.md has no heading such as ## 1.2.3")
	}
	if s.at, err = written(ctx); err != nil {
		return source{}, err
	}
	if s.version = version; version == "" {
		s.version = named(ctx, s.log[0].version, s.at)
	}
	if !versioned.MatchString(s.version) {
		return source{}, fmt.Errorf("%q is no version; one such as 1.2.3 is", s.version)
	}
	return s, nil
}

// written is the commit's time, unless $SOURCE_DATE_EPOCH says another.
func written(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text = git(ctx, "log", "-1", "--format=%ct")
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("this is no git checkout, and SOURCE_DATE_EPOCH is %q: say there when the sources were written", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func named(ctx context.Context, next string, at time.Time) string {
	changed := ""
	if git(ctx, "status", "--porcelain") != "" {
		changed = ".changed"
	}
	if tag := git(ctx, "describe", "--tags", "--exact-match", "--match", "v[0-9]*"); tag != "" && changed == "" {
		return strings.TrimPrefix(tag, "v")
	}
	sign := "~"
	if git(ctx, "tag", "--merged", "HEAD", "--list", "v"+next) != "" {
		sign = "+" // nobody has begun the next heading yet
	}
	next += sign + at.Format("20060102150405")
	if commit := git(ctx, "rev-parse", "--short=8", "HEAD"); commit != "" {
		next += "." + commit + changed
	}
	return next
}

// git is what git says, or nothing where it knows nothing.
func git(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// release is a version in the changelog.
type release struct {
	version string
	at      time.Time // zero if it is not out yet
	lines   []string  // what is new, an item a line
}

// releases reads the changelog: headings such as "## 0.1.0 (2027-01-31)", or with another
// word for what is not out yet, and lists.
func releases(text string) []release {
	var all []release
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			version, day, _ := strings.Cut(heading, " ")
			if versioned.MatchString(version) {
				at, _ := time.Parse("(2006-01-02)", day) // else it is not out yet
				all = append(all, release{version: version, at: at})
			}
			continue
		}
		if len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		if item, ok := strings.CutPrefix(line, "- "); ok {
			last.lines = append(last.lines, item)
		} else if more := strings.TrimSpace(line); more != "" && strings.HasPrefix(line, "  ") && len(last.lines) > 0 {
			last.lines[len(last.lines)-1] += " " + more
		}
	}
	return all
}
