package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	w := &works{}
	flags := flag.NewFlagSet("debian", flag.ExitOnError)
	version := flags.String("version", "", "the packages' version; that of the changelog and the commit if you do not say")
	arches := flags.String("arch", "amd64,arm64,armhf", "for which machines, as Debian names them")
	only := flags.String("only", "", "these packages alone")
	flags.StringVar(&w.out, "out", "dist", "where they go")
	flags.StringVar(&w.nfpm, "nfpm", "nfpm", "the command that packs")
	flags.StringVar(&w.bom, "bom", "", "the command that lists what a program is made of, for a release: each package gets a list, and all get sums")
	_ = flags.Parse(args) // it exits
	var err error
	if w.source, err = look(ctx, *version); err != nil {
		return fmt.Errorf("find out what is built: %w", err)
	}
	if w.bom != "" && git(ctx, "status", "--porcelain") != "" {
		return errors.New("files are changed: a release is made of what is committed")
	}
	if w.stage, err = os.MkdirTemp("", "sentinel-packages-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.stage)
	if err := os.MkdirAll(w.out, 0o755); err != nil {
		return err
	}
	for _, p := range products() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), p.Package) {
			continue
		}
		if err := w.write(ctx, p); err != nil {
			return fmt.Errorf("write the papers of %s: %w", p.Package, err)
		}
		for arch := range strings.SplitSeq(*arches, ",") {
			if err := w.pack(ctx, p, arch); err != nil {
				return fmt.Errorf("pack %s for %s: %w", p.Package, arch, err)
			}
		}
	}
	if w.bom == "" {
		return nil
	}
	return w.sums()
}

// works is where packages are made.
type works struct {
	source
	stage, out, nfpm string
	bom              string
	made             []string // files in out
}

// pack builds a product for an architecture, and packs it with its papers.
func (w *works) pack(ctx context.Context, p product, arch string) error {
	dir := filepath.Join(w.stage, p.Package)
	if err := w.build(ctx, p, arch, filepath.Join(dir, p.Program)); err != nil {
		return err
	}
	recipe, err := os.ReadFile(filepath.Join(here, p.recipe))
	if err != nil {
		return err
	}
	values := map[string]string{"ARCH": arch, "VERSION": w.version, "STAGE": dir}
	for name, value := range p.values {
		values[name] = value
	}
	var unknown []string
	text := os.Expand(string(recipe), func(name string) string {
		value, ok := values[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return value
	})
	if len(unknown) > 0 {
		return fmt.Errorf("%s names %q, which nobody gives", p.recipe, unknown)
	}
	config := filepath.Join(dir, "nfpm.yaml")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s_%s", p.Package, w.version, arch)
	deb := filepath.Join(w.out, name+".deb")
	command := append(strings.Fields(w.nfpm), "package", "--packager", "deb", "--config", config, "--target", deb)
	if err := w.run(ctx, nil, command...); err != nil {
		return err
	}
	w.done(deb)
	if w.bom == "" {
		return nil
	}
	list := filepath.Join(w.out, name+".cdx.json")
	if err := w.run(ctx, nil, append(strings.Fields(w.bom), "-version", w.version, "-output", list, filepath.Join(dir, p.Program))...); err != nil {
		return err
	}
	w.done(list)
	return nil
}

func (w *works) done(file string) {
	fmt.Println(file)
	w.made = append(w.made, file)
}

// sums writes the sum of each file that was made, as sha256sum -c reads it.
func (w *works) sums() error {
	var text strings.Builder
	for _, file := range w.made {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), filepath.Base(file))
	}
	return os.WriteFile(filepath.Join(w.out, "SHA256SUMS"), []byte(text.String()), 0o644)
}

// build compiles a product's program, without C and without what only a debugger needs.
func (w *works) build(ctx context.Context, p product, arch, to string) error {
	goarch, ok := map[string]string{"amd64": "amd64", "arm64": "arm64", "armhf": "arm"}[arch]
	if !ok {
		return fmt.Errorf("%s is no architecture that is built for: amd64, arm64 or armhf", arch)
	}
	return w.run(ctx, append(pinned(), "GOOS=linux", "GOARCH="+goarch),
		"go", "build", "-trimpath", "-ldflags", "-s -w -X "+linked+"="+w.version, "-tags", p.tags, "-o", to, p.source)
}

// pinned is all of the environment that has the same sources become another program, so that
// what a builder has set for other work does not. GOFLAGS is not empty, or the file that "go env -w"
// writes would count.
func pinned() []string {
	return []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOAMD64=v1", "GOARM64=v8.0", "GOARM=6", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off"}
}

// run runs a command; what it says is seen if it fails.
func (w *works) run(ctx context.Context, env []string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), "SOURCE_DATE_EPOCH="+fmt.Sprint(w.at.Unix())), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}
