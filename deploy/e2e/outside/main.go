// Command outside is the internet: a tailnet's control server and relay, the phone company,
// and two addresses that only have to answer. It prints a JSON line with where everything
// is, and one for each step of each call.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// line is what is printed. The first has the addresses, the others a call.
type line struct {
	Control string   `json:"control,omitempty"`
	Twilio  string   `json:"twilio,omitempty"`
	Anchors []string `json:"anchors,omitempty"`

	At     time.Time `json:"at"`
	SID    string    `json:"sid,omitempty"`
	To     string    `json:"to,omitempty"`
	Status string    `json:"status,omitempty"`
	Text   string    `json:"text,omitempty"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1", "the address of everything")
	account := flag.String("account", "", "the phone company's account")
	key := flag.String("key", "", "its API key")
	secret := flag.String("secret-file", "", "the file with the key's secret")
	number := flag.String("number", "", "the number that calls")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	text, err := os.ReadFile(*secret)
	if err == nil {
		err = run(ctx, *listen, twiliosim.Config{AccountSID: *account, KeySID: *key, KeySecret: strings.TrimSpace(string(text)), Numbers: []string{*number},
			Default: twiliosim.Answer{After: time.Second, TalkFor: 20 * time.Second}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, host string, phone twiliosim.Config) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	tailnet, err := tailnetsim.Open(tailnetsim.Config{Listen: addr})
	if err != nil {
		return err
	}
	defer tailnet.Close()
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(l line) {
		mu.Lock()
		defer mu.Unlock()
		l.At = time.Now()
		_ = out.Encode(l) // whoever started this reads it, or is gone
	}
	phone.OnStatus = func(c twiliosim.Call) { say(line{SID: c.SID, To: c.To, Status: c.Status, Text: c.Text}) }
	sim := twiliosim.New(phone)
	defer sim.Close()
	var listeners [3]net.Listener
	for i := range listeners {
		if listeners[i], err = open(addr); err != nil {
			return err
		}
		defer listeners[i].Close()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = sim.Serve(listeners[0]) }) // until both are closed
	for _, anchor := range listeners[1:] {
		wg.Go(func() { answer(anchor) })
	}
	say(line{Control: tailnet.URL(), Twilio: "http://" + listeners[0].Addr().String(),
		Anchors: []string{listeners[1].Addr().String(), listeners[2].Addr().String()}})
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close()
	}
	return nil
}

func open(addr netip.Addr) (net.Listener, error) {
	return net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
}

// answer takes connections and says nothing.
func answer(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}
