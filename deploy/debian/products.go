package main

// here is this directory in the module.
const here = "deploy/debian"

// linked is what the linker sets to the version.
const linked = "sentinel.home.arpa/shared/daemon.given"

// product is a package: a program with what belongs to it.
type product struct {
	Package, Program string
	Config           string // its file in /etc/sentinel
	User             string // its own, if it is not root
	Units            string // which are enabled, in the order in which they start
	Restarts         string // those of them that an upgrade restarts
	Services         []string
	Configured       string // a shell command: whether it may start before anybody has written anything
	Hint             string // what is said otherwise
	Hooks            bool   // whether apcupsd's scripts are with it

	about        string // for its manual
	source, tags string // of the program
	recipe       string
	values       map[string]string
	references   []string // configurations to copy from
	files        []entry  // for its manual
}

// entry is a name and what is to be said of it.
type entry struct{ name, text string }

// products are all packages.
func products() []product {
	cloud := product{Package: "sentinel-cloud", Program: "sentinel-cloud", Config: "cloud.yaml", User: "sentinel-cloud",
		Units: "sentinel-cloud.service", Restarts: "sentinel-cloud.service", Services: []string{"sentinel-cloud.service"},
		Configured: "[ -e /etc/sentinel/cloud.yaml ]",
		Hint:       "sentinel-cloud init writes /etc/sentinel/cloud.yaml by asking, and says what comes next",
		about:      "the brain of the sentinel", source: "./cloud", recipe: "sentinel-cloud.yaml",
		references: []string{"cloud/brain/reference.yaml", here + "/examples/cloud.yaml"},
		files: []entry{
			{"/etc/sentinel/cloud.yaml", "The configuration. The service does not start without it."},
			{"/usr/share/doc/sentinel-cloud/examples/reference.yaml", "Every key of it, to copy from."},
			{"/etc/systemd/system/sentinel-cloud.service.d/", "Drop-ins, such as the one that says which secrets the service may read."},
			{"/var/lib/sentinel-cloud/", "The journal, the key and the place on the tailnet."},
		}}
	pi := product{Package: "sentinel-pi", Program: "sentinel-pi", Config: "pi.yaml", User: "sentinel-pi",
		Units: "sentinel-pi-root.socket sentinel-pi.service", Restarts: "sentinel-pi-root.socket sentinel-pi.service",
		Services:   []string{"sentinel-pi.service", "sentinel-pi-root.socket", "sentinel-pi-root@.service"},
		Configured: "[ -e /etc/sentinel/pi.yaml ]",
		Hint:       "write /etc/sentinel/pi.yaml, then: systemctl start sentinel-pi-root.socket sentinel-pi",
		Hooks:      true,
		about:      "the Pi of the sentinel, beside the UPS", source: "./pi-proxy", recipe: "sentinel-pi.yaml",
		references: []string{"pi-proxy/proxy/reference.yaml", here + "/examples/pi.yaml"},
		files: []entry{
			{"/etc/sentinel/pi.yaml", "The configuration. None is needed where the defaults are right."},
			{"/usr/share/doc/sentinel-pi/examples/reference.yaml", "Every key of it, to copy from."},
			{"/usr/share/sentinel-pi/apcupsd/", "Scripts to link into /etc/apcupsd, by which apcupsd tells the Pi at once and lets it halt last."},
			{"/etc/systemd/system/sentinel-pi.service.d/", "Drop-ins, such as the one that says which secrets the service may read."},
			{"/var/lib/sentinel-pi/", "The key, the plan that it guards by, and what waits for the brain."},
		}}
	node := product{Package: "sentinel-node", Program: "sentinel-node", Config: "node.yaml",
		Units: "sentinel-node.service sentinel-announce.service", Restarts: "sentinel-node.service",
		Services:   []string{"sentinel-node.service", "sentinel-announce.service"},
		Configured: "[ -e /etc/sentinel/node.yaml ] || [ -S /run/tailscale/tailscaled.sock ]",
		Hint:       "write /etc/sentinel/node.yaml, or join the tailnet, then: systemctl start sentinel-node sentinel-announce",
		about:      "the agent of the sentinel, on each node", source: "./node-hook", recipe: "sentinel-node.yaml",
		references: []string{"node-hook/hook/reference.yaml", here + "/examples/node.yaml"},
		files: []entry{
			{"/etc/sentinel/node.yaml", "The configuration. None is needed where Tailscale runs."},
			{"/usr/share/doc/sentinel-node/examples/reference.yaml", "Every key of it, to copy from."},
			{"/var/lib/sentinel-node/", "The key, and what was learnt of brains and Pis."},
		},
		values: map[string]string{"NAME": "sentinel-node", "WHAT": "the agent", "ALSO_DEPENDS": "", "SUGGESTS": "tailscale", "INSTEAD_OF": ""}}
	tsnet := node
	tsnet.Package, tsnet.tags = "sentinel-node-tsnet", "tsnet"
	tsnet.Configured = "[ -e /etc/sentinel/node.yaml ]"
	tsnet.Hint = "write /etc/sentinel/node.yaml, then: systemctl start sentinel-node sentinel-announce"
	tsnet.files = []entry{node.files[0], {"/usr/share/doc/sentinel-node-tsnet/examples/reference.yaml", node.files[1].text}, node.files[2]}
	tsnet.values = map[string]string{"NAME": "sentinel-node-tsnet", "WHAT": "the agent with a tailnet of its own", "ALSO_DEPENDS": "ca-certificates",
		"SUGGESTS": "", "INSTEAD_OF": "sentinel-node"}
	return []product{cloud, pi, node, tsnet}
}
