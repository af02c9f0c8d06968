package tailnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/envknob"
	"tailscale.com/ipn"
	"tailscale.com/ipn/store"
	"tailscale.com/tsnet"
)

const (
	// session is how long the state is watched in one go: the deadline of coming up, and how old the node
	// key's expiry in Status may be.
	session = 30 * time.Second
	// firstRetry and lastRetry space the attempts with a new server.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// localDeadline bounds a question to the own backend, which is in this process.
	localDeadline = 5 * time.Second
	// startGrace is how long the end waits for a start that can't be interrupted.
	startGrace = 3 * time.Second
)

var (
	errStopped = errors.New("the tailnet node has stopped")
	errTooSlow = errors.New("the control server has not answered in time")
)

// Config is what a machine on the tailnet needs to know.
type Config struct {
	Hostname   string // the name it asks for; the tailnet may give it another
	Dir        string // where its identity is kept; made with 0700 if missing
	ControlURL string // "" is Tailscale's own
	// AuthKey is asked for an auth key or OAuth client secret while the machine has not registered yet; it may
	// be nil or answer "": then a person must follow Status.AuthURL.
	AuthKey   func() (string, error)
	Tags      []string // such as tag:sentinel-brain
	Port      uint16   // WireGuard's UDP port; a fixed one spares peers 5 s after a restart; 0 is any
	Logger    *slog.Logger
	Ephemeral bool           // the tailnet forgets the machine once it is offline
	Store     ipn.StateStore // in place of a file in Dir, for tests
}

// Node is a machine on the tailnet. Run must be running for the other methods to get anywhere.
type Node struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{} // closed when first up
	ended chan struct{} // closed when Run has returned

	mu     sync.Mutex
	server *tsnet.Server // non-nil from first up until the end
	client *local.Client
	status Status
}

// New makes a machine that is not on the tailnet yet; it does nothing until Run.
func New(cfg Config) *Node {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Node{
		cfg: cfg, log: log, ready: make(chan struct{}), ended: make(chan struct{}),
		status: Status{State: ipn.NoState.String()},
	}
}

// Run brings the machine up, keeps it up and takes it down when ctx ends; it may be called once. No failure
// ends it: what is wrong is in Status and is tried again. Connections die with it, so a program ends its
// servers first.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.ended)
	envknob.SetNoLogsNoSupport() // else the library sends its logs to log.tailscale.com
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := n.attempt(ctx)
		if ctx.Err() != nil {
			return nil
		}
		n.fail(err)
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// attempt runs one server until ctx ends or, before it was ever up, until it fails: a failed one never recovers.
func (n *Node) attempt(ctx context.Context) (err error) {
	server, keyed, err := n.newServer()
	if err != nil {
		return err
	}
	if err := n.start(ctx, server); err != nil {
		return err
	}
	defer func() {
		n.mu.Lock()
		n.server, n.client = nil, nil
		n.mu.Unlock()
		err = errors.Join(err, closeServer(server))
	}()
	client, err := server.LocalClient()
	if err != nil {
		return fmt.Errorf("ask the tailnet backend: %w", err)
	}
	for ctx.Err() == nil {
		err := n.watch(ctx, server, client)
		if err == nil || ctx.Err() != nil {
			continue
		}
		// A server that was up comes back by itself, and listeners hang on it; one that waits for control too.
		if !n.isUp() && (keyed || !errors.Is(err, errTooSlow)) {
			return err // the next one reads the key again
		}
		n.fail(err)
		pause(ctx, firstRetry)
	}
	return nil
}

// newServer prepares a server; keyed says that it got an auth key.
func (n *Node) newServer() (server *tsnet.Server, keyed bool, err error) {
	state := n.cfg.Store
	if state == nil {
		path := filepath.Join(n.cfg.Dir, "tailscaled.state")
		if err := os.MkdirAll(n.cfg.Dir, 0o700); err != nil {
			return nil, false, fmt.Errorf("open the tailnet state: %w", err)
		}
		if state, err = store.NewFileStore(n.logf, path); err != nil {
			return nil, false, fmt.Errorf("open the tailnet state %s: %w", path, err)
		}
	}
	server = &tsnet.Server{
		Hostname: n.cfg.Hostname, Dir: n.cfg.Dir, ControlURL: n.cfg.ControlURL, AdvertiseTags: n.cfg.Tags,
		Port: n.cfg.Port, Ephemeral: n.cfg.Ephemeral, Store: state, Logf: n.logf, UserLogf: n.logf,
	}
	if n.cfg.AuthKey != nil && !registered(state) {
		key, err := n.cfg.AuthKey()
		if err != nil {
			return nil, false, fmt.Errorf("read the tailnet auth key: %w", err)
		}
		server.AuthKey = authKey(key, n.cfg.Ephemeral)
	}
	n.checkPort()
	return server, server.AuthKey != "", nil
}

// registered reports whether a machine has ever been let in. That the state file exists doesn't say so: it is
// written before the first answer of the control server.
func registered(state ipn.StateStore) bool {
	profile, err := state.ReadState(ipn.CurrentProfileStateKey)
	return err == nil && len(profile) > 0
}

// authKey trims what was read from a file. An OAuth secret makes ephemeral machines unless told otherwise.
func authKey(key string, ephemeral bool) string {
	key = strings.TrimSpace(key)
	if strings.HasPrefix(key, "tskey-client-") && !strings.Contains(key, "?") {
		key += fmt.Sprintf("?ephemeral=%t&preauthorized=true", ephemeral)
	}
	return key
}

// checkPort warns if the fixed port is taken, since the library then silently uses another.
func (n *Node) checkPort() {
	if n.cfg.Port == 0 {
		return
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(n.cfg.Port)})
	if err != nil {
		n.log.Warn("the tailnet's UDP port is taken; peers need seconds longer after a restart", "port", n.cfg.Port, "err", err)
		return
	}
	conn.Close()
}

// start starts the server and closes it if that fails. Start knows no context and, with an OAuth secret, asks
// the network.
func (n *Node) start(ctx context.Context, server *tsnet.Server) error {
	started := make(chan error, 1)
	go func() {
		err := server.Start()
		if err != nil {
			err = errors.Join(err, closeServer(server))
		}
		started <- err
	}()
	var err error
	select {
	case err = <-started:
	case <-ctx.Done():
		select {
		case err = <-started:
		case <-time.After(startGrace): // the process ends, and the attempt with it
			return ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("start the tailnet node: %w", err)
	}
	return nil
}

// closeServer survives the library's panics on servers that never came up.
func closeServer(server *tsnet.Server) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("close the tailnet node: panic: %v", p)
		}
	}()
	if err := server.Close(); err != nil {
		return fmt.Errorf("close the tailnet node: %w", err)
	}
	return nil
}

func (n *Node) logf(format string, args ...any) {
	if n.log.Enabled(context.Background(), slog.LevelDebug) {
		n.log.Debug("tailscale", "line", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

// Ready is closed once the machine has been up for the first time.
func (n *Node) Ready() <-chan struct{} { return n.ready }

func (n *Node) isUp() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// up returns the running server; it waits for the first time it is up.
func (n *Node) up(ctx context.Context) (*tsnet.Server, *local.Client, error) {
	select {
	case <-n.ready:
	case <-n.ended:
		return nil, nil, errStopped
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for the tailnet: %w", ctx.Err())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return nil, nil, errStopped
	}
	return n.server, n.client, nil
}
