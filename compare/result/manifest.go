package result

import "time"

// Manifest says how the samples of a folder came about, and how to repeat it.
type Manifest struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Profile string    `json:"profile"`
	// Planned and Done count runs; Partial says why they differ, "" if they do
	// not.
	Planned int    `json:"runs_planned"`
	Done    int    `json:"runs_done"`
	Partial string `json:"partial,omitempty"`
	// Repeats is how often each arm went through each scenario, at most; Order
	// says how arms took turns.
	Repeats int    `json:"repeats"`
	Order   string `json:"order"`

	// Commit that the server was built from, with "+changes" where the tree had
	// some; "" where that could not be told.
	Commit string `json:"commit,omitempty"`
	Server string `json:"server"` // what server -version prints
	Go     string `json:"go"`     // of compare itself
	Redis  Redis  `json:"redis"`

	Host   Host   `json:"host"`
	Limits Limits `json:"limits"`
	CPUs   CPUs   `json:"cpus"`

	Arms      []Arm      `json:"arms"`
	Scenarios []Scenario `json:"scenarios"`
	// Skipped are pairs of arm and scenario that were not run, and why.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Failed are runs that left no figures.
	Failed []Failed `json:"failed,omitempty"`

	// Args are compare's arguments; Repeat is a command line that repeats it all.
	Args   []string `json:"args"`
	Repeat string   `json:"repeat"`
}

// Redis says which Redis was used.
type Redis struct {
	Embedded bool   `json:"embedded"`
	Version  string `json:"version"`
}

// Host is the machine, without its name.
type Host struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  uint64 `json:"memory_bytes"`
	Virtual bool   `json:"virtual"`
}

// Limits are those of the system's settings that bear on the figures; those that
// could not be read are missing.
type Limits struct {
	Files    uint64            `json:"open_files"`
	Settings map[string]string `json:"settings"`
}

// CPUs says who ran where.
type CPUs struct {
	Server []int `json:"server"`
	// Load is where load and compare ran; empty with Server: anywhere.
	Load  []int `json:"load"`
	Redis []int `json:"redis"`
	// Says is the same in a sentence.
	Says string `json:"says"`
}

// Arm is one thing that was measured.
type Arm struct {
	Name string   `json:"name"`
	Env  []string `json:"env,omitempty"`
	// External is the address of a server that compare did not start.
	External string `json:"external,omitempty"`
}

// Scenario is what the arms went through.
type Scenario struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Shows says what it shows, Load what the arms were put through.
	Shows string `json:"shows"`
	Load  string `json:"load"`
	// Env is what the scenario set for every arm that compare starts.
	Env []string `json:"env,omitempty"`
}

// Skipped is a pair that was not run.
type Skipped struct {
	Arm      string `json:"arm"`
	Scenario string `json:"scenario"`
	Why      string `json:"why"`
}

// Failed is a run that ended without figures.
type Failed struct {
	Arm      string `json:"arm"`
	Scenario string `json:"scenario"`
	Repeat   int    `json:"repeat"`
	Why      string `json:"why"`
}

// ScenarioOf returns the scenario of that name; one that is not known has its
// name for a title.
func (m *Manifest) ScenarioOf(name string) Scenario {
	for _, s := range m.Scenarios {
		if s.Name == name {
			return s
		}
	}
	return Scenario{Name: name, Title: name}
}
