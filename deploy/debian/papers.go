package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// maintainer signs the changelog.
const maintainer = "The sentinel authors <maintainers@sentinel.home.arpa>"

// write writes what belongs to a product beside its program: alike on all architectures.
func (w *works) write(ctx context.Context, p product) error {
	put := func(mode os.FileMode, text []byte, path ...string) error {
		file := filepath.Join(append([]string{w.stage, p.Package}, path...)...)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, mode); err != nil {
			return err
		}
		return os.Chmod(file, mode) // whatever the umask is
	}
	for _, name := range []string{"preinst", "postinst", "prerm", "postrm"} {
		text, err := script(filepath.Join(here, "scripts"), name, p)
		if err == nil {
			err = put(0o755, text, "scripts", name)
		}
		if err != nil {
			return err
		}
	}
	papers, err := w.papers(ctx, p)
	if err != nil {
		return err
	}
	for path, text := range papers {
		if err := put(0o644, text, path); err != nil {
			return err
		}
	}
	// Also the directories are packed as they are.
	return filepath.WalkDir(filepath.Join(w.stage, p.Package), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755)
	})
}

// script is a maintainer script of a product.
func script(dir, name string, p product) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFiles(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, p); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// papers are the files below /usr/share, by their path in the stage.
func (w *works) papers(ctx context.Context, p product) (map[string][]byte, error) {
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	head, err := os.ReadFile(filepath.Join(here, "copyright"))
	if err != nil {
		return nil, err
	}
	overrides, err := os.ReadFile(filepath.Join(here, "lintian-overrides"))
	if err != nil {
		return nil, err
	}
	papers := map[string][]byte{
		"doc/copyright":                        append(head, expat(string(license))...),
		"doc/changelog.gz":                     zip([]byte(changelog(p.Package, w.version, w.at, w.log))),
		"share/lintian/overrides/" + p.Package: bytes.ReplaceAll(overrides, []byte("PACKAGE"), []byte(p.Package)),
	}
	for _, from := range p.references {
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		papers["doc/examples/"+filepath.Base(from)] = text
	}
	usage, err := w.usage(ctx, p)
	if err != nil {
		return nil, err
	}
	papers["share/man/man1/"+p.Program+".1.gz"] = zip([]byte(manual(p, usage, w.version, w.at)))
	papers["share/bash-completion/completions/"+p.Program] = []byte(bash(p.Program, usage))
	papers["share/zsh/vendor-completions/_"+p.Program] = []byte(zsh(p.Program, usage))
	return papers, nil
}

// zip is gzip without a name or a time, as Debian wants it.
func zip(text []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is one
	_, _ = z.Write(text)                                    // to memory
	_ = z.Close()
	return out.Bytes()
}

// expat is the licence's text as a paragraph of Debian's copyright format.
func expat(license string) string {
	_, terms, _ := strings.Cut(license, "\n\nPermission")
	var text strings.Builder
	text.WriteString("\nLicense: Expat\n")
	for line := range strings.Lines("Permission" + terms) {
		if line = strings.TrimRight(line, "\n"); line == "" {
			line = "."
		}
		text.WriteString(" " + line + "\n")
	}
	return text.String()
}

// changelog is the project's in Debian's form. Its head is the version that is packed.
func changelog(name, version string, at time.Time, log []release) string {
	var text strings.Builder
	for i, r := range log {
		if i == 0 {
			r.version, r.at = version, at
		}
		fmt.Fprintf(&text, "%s (%s) stable; urgency=medium\n\n", name, r.version)
		for _, line := range r.lines {
			text.WriteString(fold("  * ", "    ", plain(line)))
		}
		if len(r.lines) == 0 {
			text.WriteString("  * No changes.\n")
		}
		fmt.Fprintf(&text, "\n -- %s  %s\n\n", maintainer, r.at.Format(time.RFC1123Z))
	}
	return text.String()
}

// plain is text without Markdown's marks.
func plain(text string) string { return strings.NewReplacer("**", "", "`", "").Replace(text) }

// fold breaks a text into lines of 78 characters at most.
func fold(first, more, text string) string {
	const most = 78
	var out strings.Builder
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > most:
			out.WriteString(line + "\n")
			line = more + word
		default:
			line += " " + word
		}
	}
	return out.String() + line + "\n"
}
