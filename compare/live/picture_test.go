package live

import (
	"bytes"
	"flag"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tandem-ws/tandem/compare/browsertest"
)

var picture = flag.String("picture", "", "write the README's picture to this `file`, after half a minute of load")

// TestPicture takes the picture of the page that the README shows.
func TestPicture(t *testing.T) {
	settings, samples := Settings{Connections: 60, Rate: 5, Size: 128, Channels: 1}, "2"
	path := filepath.Join(t.TempDir(), "live.png")
	if *picture != "" {
		settings, samples, path = Settings{Connections: 5000, Rate: 3, Size: 128, Channels: 1}, "24", *picture
	}
	s := startStage(t, settings)
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	b := browsertest.Open(t)
	b.Media("", "light")
	b.Do(chromedp.EmulateViewport(1360, 900, chromedp.EmulateScale(2)), chromedp.Navigate(s.url))
	b.Await("enough samples", "page.charts.times.length >= "+samples)
	const fits = `page.charts.charts.every(({u}) => {
		const axis = u.axes[1];
		u.ctx.font = axis.font[0];
		return axis._values.length > 0 && axis._values.every((v) => u.ctx.measureText(v).width / devicePixelRatio + axis.gap <= axis._size);
	})`
	if !browsertest.Eval[bool](b, fits) {
		t.Error("the labels of an axis are wider than the axis")
	}
	shot := b.Screenshot()
	if size, err := png.DecodeConfig(bytes.NewReader(shot)); err != nil || size.Width != 2720 || size.Height != 1800 {
		t.Errorf("a picture of %d x %d: %v", size.Width, size.Height, err)
	}
	if err := os.WriteFile(path, shot, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Clean(func(asked string) bool {
		u, err := url.Parse(asked)
		return err == nil && u.Host == address.Host
	}, 5)
}
