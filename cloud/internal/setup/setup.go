// Package setup writes the first cloud.yaml, by asking a person for what only a person knows, and
// says what is to be done then. It holds no secret and asks for none.
//
// It must not import the brain: whether a file is right it is told.
package setup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/shared/wire"
)

const (
	// lookWithin bounds the look at a node's certificate.
	lookWithin = 5 * time.Second
	apiPort    = "8006"
	// group may read the configuration.
	group = "sentinel-cloud"
)

var (
	phone       = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
	sid         = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
	hostname    = regexp.MustCompile(`^[0-9A-Za-z.-]{1,100}$`)
	fingerprint = regexp.MustCompile(`^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$`)
)

// Setup is how the first configuration comes about.
type Setup struct {
	In       io.Reader
	Out      io.Writer
	Terminal bool // In is a person's
	Force    bool // also over a file that is there
	// Check says what is wrong with a file.
	Check func(path string) error
}

// answers are what a configuration is made of.
type answers struct {
	Site, Zone, Pi  string
	Contact, Phone  string
	Channels        []string
	Account, Key    string
	From            string
	Token, Deadline string
	Nodes           []node
}

type node struct{ Name, API, Fingerprint string }

// Run asks, writes the file at path, and says what is left to do.
func (s Setup) Run(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil && !s.Force {
		return fmt.Errorf("%s is there already; --force writes a new one, and keeps that as %s.old", path, filepath.Base(path))
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s; make it: sudo install -d -m 755 %s", filepath.Dir(path), filepath.Dir(path))
	}
	q := &asker{ctx: ctx, in: bufio.NewScanner(s.In), out: s.Out, terminal: s.Terminal}
	a, err := s.interview(ctx, q)
	if err != nil {
		return err
	}
	if err := s.write(path, a.yaml()); err != nil {
		return err
	}
	_, err = io.WriteString(s.Out, a.next(path))
	return err
}

func (s Setup) interview(ctx context.Context, q *asker) (a answers, err error) {
	questions := []struct {
		into      *string
		text      string
		otherwise string
		must      bool
		check     func(string) error
		unless    *string // it is empty: not asked
	}{
		{into: &a.Site, text: "Name of the home or office", otherwise: "home", must: true, check: wire.ValidName},
		{into: &a.Zone, text: "Its time zone", otherwise: zone(), must: true, check: knownZone},
		{into: &a.Pi, text: "Name of its Pi in the tailnet", otherwise: "pi", must: true, check: wire.ValidName},
		{into: &a.Contact, text: "Who is called first (a name, as it is spoken)", must: true},
		{into: &a.Phone, text: "Phone, with + and the country (nothing: is not called)", check: form(phone, "write it as +<country><number>, such as +14155550100")},
		{into: &a.Account, text: "Twilio's account SID, AC... (on the console's first page)", must: true, check: sidOf("AC"), unless: &a.Phone},
		{into: &a.Key, text: "Twilio's API key SID, SK... (Account, API keys & tokens)", must: true, check: sidOf("SK"), unless: &a.Phone},
		{into: &a.From, text: "Your number at Twilio", must: true, check: form(phone, "write it as +<country><number>, such as +14155550199"), unless: &a.Phone},
	}
	for _, x := range questions {
		if x.unless != nil && *x.unless == "" {
			continue
		}
		ask := q.ask
		if x.must {
			ask = q.must
		}
		if *x.into, err = ask(x.text, x.otherwise, x.check); err != nil {
			return a, err
		}
	}
	for {
		text, err := q.ask("A channel for notices, such as ntfy://ntfy.sh/your-topic (nothing: no more)", "", isURL)
		if err != nil {
			return a, err
		}
		if text == "" {
			break
		}
		a.Channels = append(a.Channels, text)
	}
	return a, s.plan(ctx, q, &a)
}

// plan asks for the Proxmox nodes, in the order in which they go down.
func (s Setup) plan(ctx context.Context, q *asker, a *answers) error {
	for {
		addr, err := q.ask("Address of a Proxmox node, such as 192.168.77.11 (nothing: no more)", "", isAddress)
		if err != nil {
			return err
		}
		if addr == "" {
			break
		}
		n, err := s.node(ctx, q, addr)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(a.Nodes, func(o node) bool { return o.Name == n.Name }):
			return fmt.Errorf("two nodes are called %s; nothing was written", n.Name)
		case n.Name != "":
			a.Nodes = append(a.Nodes, n)
		}
	}
	if len(a.Nodes) == 0 {
		return nil
	}
	var names []string
	for _, n := range a.Nodes {
		names = append(names, n.Name)
	}
	last, err := q.must("Which goes down last: the one with storage, or the router", names[len(names)-1], func(name string) error {
		if !slices.Contains(names, name) {
			return fmt.Errorf("it is one of %s", strings.Join(names, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	i := slices.Index(names, last)
	a.Nodes = append(slices.Delete(slices.Clone(a.Nodes), i, i+1), a.Nodes[i])
	if a.Deadline, err = q.must("How long guests may take to shut down", "3m", isSpan); err != nil {
		return err
	}
	a.Token, err = q.must("The token's ID in Proxmox", "sentinel@pve!shutdown", nil)
	return err
}

// node looks at a node's certificate, and has the person compare it. Without a name it is left out.
func (s Setup) node(ctx context.Context, q *asker, addr string) (n node, err error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), apiPort)
	}
	n.API = "https://" + addr
	name := ""
	cert, err := certificate(ctx, addr)
	if err != nil {
		fmt.Fprintf(q.out, "  %s is not reached from here: %s.\n  On the node, `pvenode cert info` shows its fingerprint: of pveproxy-ssl.pem if there is one, else of pve-ssl.pem.\n", addr, err)
		if n.Fingerprint, err = q.ask("Its fingerprint (nothing: leave the node out)", "", form(fingerprint, "write 32 bytes in hex, such as 5C:1E:...")); err != nil || n.Fingerprint == "" {
			return node{}, err
		}
	} else {
		sum := sha256.Sum256(cert.Raw)
		n.Fingerprint = strings.ToUpper(strings.TrimSuffix(fmt.Sprintf("% x", sum[:]), " "))
		n.Fingerprint = strings.ReplaceAll(n.Fingerprint, " ", ":")
		name, _, _ = strings.Cut(strings.ToLower(cert.Subject.CommonName), ".")
		fmt.Fprintf(q.out, "  It shows the certificate of %s, with the fingerprint\n  %s\n  Compare it with `pvenode cert info` on the node, or with its page: Node, System, Certificates.\n", shown(cert.Subject.CommonName), n.Fingerprint)
		same, err := q.agrees("Is it the same there")
		if err != nil {
			return node{}, err
		}
		if !same {
			fmt.Fprintln(q.out, "  Then something else answers there; the node is left out.")
			return node{}, nil
		}
	}
	if wire.ValidName(name) != nil {
		name = ""
	}
	n.Name, err = q.must("Its name in Proxmox", name, wire.ValidName)
	return n, err
}

// shown is the name in a certificate, which nobody has vouched for. What is no host's name is quoted
// and short: it might tell of another fingerprint in the place of the true one, or draw it.
func shown(name string) string {
	if hostname.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%.40q", name)
}

// certificate is what a server shows. It is believed only once a person has compared it.
func certificate(ctx context.Context, addr string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", addr) // nothing is sent
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// write puts the file in its place if it is right, whole or not at all.
func (s Setup) write(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".cloud.yaml.tmp*")
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("you may not write to %s; use sudo", filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer os.Remove(tmp.Name()) // does nothing once it has its name
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Chmod(0o640), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := s.Check(tmp.Name()); err != nil {
		return fmt.Errorf("nothing was written, since the answers make no right configuration: %s", strings.ReplaceAll(err.Error(), tmp.Name(), path))
	}
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(tmp.Name(), -1, gid) // next says how, should it not be allowed here
		}
	}
	if s.Force {
		if err := keep(path); err != nil {
			return fmt.Errorf("keep the old configuration: %w", err)
		}
		err = os.Rename(tmp.Name(), path)
	} else {
		err = os.Link(tmp.Name(), path) // never over one that has come meanwhile
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// keep gives the file at path a second name, by which it outlives one that takes its place: .old,
// or if there is an older one, .old2 and so on.
func keep(path string) error {
	for n := 1; ; n++ {
		old := path + ".old"
		if n > 1 {
			old += strconv.Itoa(n)
		}
		if err := os.Link(path, old); !errors.Is(err, fs.ErrExist) {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
	}
}

func form(re *regexp.Regexp, how string) func(string) error {
	return func(s string) error {
		if !re.MatchString(s) {
			return errors.New(how)
		}
		return nil
	}
}

func sidOf(prefix string) func(string) error {
	return func(s string) error {
		rest, found := strings.CutPrefix(s, prefix)
		if !found || !sid.MatchString(rest) {
			return fmt.Errorf("it is %s and 32 digits and letters", prefix)
		}
		return nil
	}
}

func isURL(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme == "" {
		return errors.New("write an address such as ntfy://ntfy.sh/your-topic")
	}
	return nil
}

func isAddress(s string) error {
	host := s
	if h, _, err := net.SplitHostPort(s); err == nil {
		host = h
	}
	if strings.ContainsAny(host, "/ @?#") {
		return errors.New("write an address or a name alone, such as 192.168.77.11")
	}
	return nil
}

func isSpan(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d <= 0 {
		return errors.New("write a time such as 3m")
	}
	return nil
}

func knownZone(s string) error {
	if _, err := time.LoadLocation(s); err != nil {
		return errors.New("write one such as Europe/Berlin")
	}
	return nil
}

// zone is the machine's own, which in the cloud is seldom that of the home.
func zone() string {
	target, err := os.Readlink("/etc/localtime")
	if _, name, found := strings.Cut(target, "zoneinfo/"); err == nil && found && knownZone(name) == nil {
		return name
	}
	return "UTC"
}
