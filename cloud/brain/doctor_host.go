package brain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/systemctl"
)

// Unit is the brain's own.
const Unit = "sentinel-cloud.service"

const (
	dropIn = "/etc/systemd/system/sentinel-cloud.service.d/credentials.conf"
	// ansibleSecrets is where the playbook keeps the secrets, and bySelf where the guide has them put.
	ansibleSecrets = "/etc/sentinel/sentinel-cloud.secrets"
	bySelf         = "/etc/sentinel"
)

// hostEvidence is what can be seen without the running brain.
type hostEvidence struct {
	path    string
	notes   []string
	wrong   error // with the configuration
	needs   []credential
	unit    systemctl.Unit
	noUnit  error
	given   map[string]string
	noGiven error

	byAnsible bool // there is the playbook's directory for secrets
}

// credential is one that the configuration names.
type credential struct {
	key, name string
	once      bool  // needed until the brain is on the tailnet
	noFile    error // its file is not good
}

// Examine looks at what there is without the running brain: configuration, unit and credentials.
func Examine(ctx context.Context, path string, heard func() ([]string, bool)) []doctor.Finding {
	e := hostEvidence{path: path}
	e.notes, e.wrong = CheckConfig(path, heard)
	var units map[string]systemctl.Unit
	if units, e.noUnit = systemctl.Show(ctx, Unit); e.noUnit == nil {
		e.unit = units[Unit]
		e.given, e.noGiven = systemctl.Credentials(ctx, Unit)
	}
	if c, _, err := loadConfig(path); err == nil {
		e.needs = c.credentials()
	}
	for i, n := range e.needs {
		if file := e.given[n.name]; filepath.IsAbs(file) {
			e.needs[i].noFile = usable(file)
		}
	}
	if info, err := os.Stat(ansibleSecrets); err == nil {
		e.byAnsible = info.IsDir()
	}
	return e.findings()
}

// load is what to do about a credential that the unit is not given: its file lies with the others.
func (e *hostEvidence) load(name string) string {
	dir, playbook := bySelf, ""
	if e.byAnsible {
		dir = ansibleSecrets
	}
	for _, given := range slices.Sorted(maps.Keys(e.given)) {
		if file := e.given[given]; filepath.IsAbs(file) {
			dir = filepath.Dir(file)
			break
		}
	}
	if dir == ansibleSecrets { // which writes the drop-in too
		playbook = "write it into secrets.yml and run the playbook again, or "
	}
	return playbook + "LoadCredential=" + name + ":" + filepath.Join(dir, name) + " in " + dropIn
}

// credentials are those that systemd hands over, each once.
func (c *Config) credentials() (all []credential) {
	add := func(key, name string, once bool) {
		known := slices.ContainsFunc(all, func(n credential) bool { return n.name == name })
		if name != "" && !filepath.IsAbs(name) && !known {
			all = append(all, credential{key: key, name: name, once: once})
		}
	}
	for _, s := range c.secrets() {
		add(s.key, s.file.Name(), false)
	}
	if c.Listen == "" {
		add("tailnet.auth_key_file", c.Tailnet.AuthKey.Name(), true)
	}
	return all
}

var (
	errEmpty   = errors.New("it is empty")
	errExposed = errors.New("others than root may read it")
)

// usable reports what is wrong with a file that holds a secret. It is not opened.
func usable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		return err
	case info.Size() == 0:
		return errEmpty
	case info.Mode().Perm()&0o077 != 0:
		return errExposed
	}
	return nil
}

func (e *hostEvidence) findings() []doctor.Finding {
	var r doctor.Report
	if e.wrong != nil {
		r.Wrong("configuration", e.wrong.Error(), "mend "+e.path+"; `sudo sentinel-cloud check-config` says whether it is right then")
	} else {
		r.OK("configuration", e.path+" is fine")
	}
	for _, n := range e.notes {
		if strings.Contains(n, "not looked at") { // what is looked at below, or by the running brain
			continue
		}
		r.Look("configuration", n, "mend it in "+e.path+", then `sudo systemctl reload sentinel-cloud`")
	}
	switch u := e.unit; {
	case e.noUnit != nil:
		r.Look("unit", e.noUnit.Error(), "see what `systemctl status sentinel-cloud` says")
		return r
	case u.Load != "loaded":
		r.Wrong("unit", "there is no sentinel-cloud.service", doctor.Reinstall("sentinel-cloud"))
		return r
	case u.Active != "active":
		r.Wrong("unit", "it is "+u.Active, "`journalctl -u sentinel-cloud` says why; `systemctl enable --now sentinel-cloud` starts it")
	case u.File != "enabled":
		r.Wrong("unit", "it runs, but would not after a reboot, since it is "+u.File, "`systemctl enable sentinel-cloud`")
	default:
		r.OK("unit", "it runs, and starts with the machine")
	}
	e.ofCredentials(&r)
	return r
}

func (e *hostEvidence) ofCredentials(r *doctor.Report) {
	if e.noGiven != nil {
		r.Look("credentials", e.noGiven.Error(), "see what `systemctl cat sentinel-cloud` says")
		return
	}
	fine := true
	for _, n := range e.needs {
		file, given := e.given[n.name]
		switch {
		case !given && n.once:
			fine = false
			r.Look(n.name, "the unit is not given it; it is needed once, to join the tailnet", e.load(n.name))
		case !given:
			fine = false
			r.Wrong(n.name, fmt.Sprintf("%s names it, and the unit is not given it", n.key), e.load(n.name)+", then `systemctl daemon-reload` and restart sentinel-cloud")
		case errors.Is(n.noFile, errExposed):
			fine = false
			r.Look(n.name, "others than root may read "+file, "`chmod 600 "+file+"`")
		case n.noFile != nil:
			fine = false
			r.Wrong(n.name, file+": "+n.noFile.Error(), "write the secret into it, with mode 600")
		}
	}
	if fine && len(e.needs) > 0 {
		r.OK("credentials", fmt.Sprintf("the unit is given all %d", len(e.needs)))
	}
}
