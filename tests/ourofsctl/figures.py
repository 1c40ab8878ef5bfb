"""Medians, spreads, ratios, and what is said of them: text, Markdown, JSON, HTML, plots."""

import json
import pathlib
import tempfile
import unittest
import xml.etree.ElementTree as xml

import made_up
from made_up import READ, UNPACK, cell

from ourofs_compare import page, plots, report, summary

try:
    from matplotlib import image
except ImportError:
    image = None


class Summary(unittest.TestCase):
    def test_figures_are_medians_and_the_spread_is_relative(self):
        figures = summary.figures(cell(100, 400, 200, cpu_us=5, calls=2, p50_us=3, p99_us=9))
        self.assertEqual((figures.median, figures.lowest, figures.highest), (200, 100, 400))
        self.assertEqual(figures.spread, 1.5)
        self.assertAlmostEqual(figures.cpu_us, 5)
        self.assertAlmostEqual(figures.p50_us, 3)
        self.assertAlmostEqual(figures.p99_us, 9)
        self.assertEqual(figures.calls, 2)
        self.assertEqual(summary.figures(cell(100, 200)).median, 150)

    def test_what_is_not_known_stays_unknown(self):
        figures = summary.figures(cell(100))
        self.assertIsNone(figures.cpu_us)
        self.assertIsNone(figures.p50_us)
        self.assertIsNone(figures.calls)
        self.assertIsNone(summary.figures(summary.Cell()))
        self.assertIsNone(summary.ratio(summary.Cell(), cell(1)))
        # CPU time that could not be read in one run does not count as none.
        mixed = cell(10, 10, cpu_us=4)
        mixed.runs[0].cpu_ns = None
        self.assertAlmostEqual(summary.figures(mixed).cpu_us, 4)

    def test_overlapping_ranges_decide_nothing(self):
        decided = summary.ratio(cell(10, 11, 12), cell(20, 21, 22))
        self.assertTrue(decided.decided)
        self.assertAlmostEqual(decided.value, 11 / 21)
        self.assertFalse(summary.ratio(cell(10, 11, 20), cell(20, 21, 22)).decided)
        self.assertFalse(summary.ratio(cell(10, 21, 30), cell(20, 21, 22)).decided)

    def test_two_rounds_decide_nothing(self):
        self.assertFalse(summary.ratio(cell(10, 11), cell(20, 21, 22)).decided)
        self.assertFalse(summary.ratio(cell(10, 11, 12), cell(21)).decided)

    def test_columns_are_compared_with_native_and_peers(self):
        made = made_up.comparison()
        self.assertEqual(made.bases, ["native", "pe|er"])
        self.assertAlmostEqual(made.ratio("tmpfs", READ, "ourofs", "pe|er").value, 2)
        self.assertIsNone(made.ratio("tmpfs", READ, "native", "native"))
        self.assertIsNone(made.ratio("tmpfs", UNPACK, "ourofs backing=inline", "native"))
        # Of READ: native and inline overlap; of UNPACK all with the peer, which has two rounds.
        self.assertEqual(made.undecided(), (4, 10))
        self.assertEqual(made.failures(),
                         [("tmpfs", "unpack", "ourofs backing=inline", "tar: it <broke>")])


    def test_what_fails_natively_is_a_note(self):
        made = made_up.comparison()
        made.leave_out_what_fails_natively()
        self.assertEqual((len(made.cells), made.notes), (8, ["a note"]))
        made.cells["tmpfs", "unpack", "native"] = summary.Cell(failure="no such thing")
        made.leave_out_what_fails_natively()
        self.assertEqual({key[1] for key in made.cells}, {"4k random read"})
        self.assertEqual(made.notes[1:], ["without 'unpack' on tmpfs, which fails natively: "
                                          "no such thing"])
        self.assertEqual(made.failures(), [])


class Texts(unittest.TestCase):
    def setUp(self):
        self.made = made_up.comparison()

    def test_numbers_have_three_digits(self):
        texts = [report.number(value) for value in (None, 0.012345, 1.5, 12.34, 123.4, 1234567.8, 0)]
        self.assertEqual(texts, ["-", "0.0123", "1.5", "12.3", "123", "1,234,568", "0"])

    def test_the_table_has_every_figure(self):
        lines = [line.split() for line in report.text(self.made).splitlines()]
        head = "column ops/s spread to native to pe|er p50 us p99 us CPU us calls"
        self.assertIn(head.split(), lines)
        self.assertIn("native 1,000 20% - 4.00 10 40 - -".split(), lines)
        self.assertIn("ourofs 500 8% 0.50 2.00 20 81 7 1.25".split(), lines)
        self.assertIn("ourofs backing=inline 940 11% 0.94~ 3.76 - - 3 2".split(), lines)
        self.assertIn("pe|er 20 0% 0.20~ - - - - -".split(), lines)
        self.assertIn("ourofs backing=inline failed - - - - - - -".split(), lines)
        text = report.text(self.made)
        for part in ("kernel: 6.18", "transport=dev backing=ring", "note: a note", "an abacus",
                     "warning: a warning"):
            self.assertIn(part, text)

    def test_the_columns_of_a_table_are_aligned(self):
        table = report.text(self.made).split("\n\n")[1].splitlines()[1:]
        self.assertEqual(len({len(line) for line in table}), 1, table)

    def test_markdown_is_one_table_for_each_ground(self):
        lines = report.markdown(self.made).splitlines()
        self.assertIn("| 4k random read [ops/s] | ourofs | 500 | 8% | 0.50 | 2.00 | 20 | 81 | 7 | "
                      "1.25 |", lines)
        self.assertIn("| unpack [files/s] | pe\\|er | 20 | 0% | 0.20~ | - | - | - | - | - |", lines)
        rows = [line.replace("\\|", "") for line in lines if line.startswith("|")]
        self.assertEqual({row.count("|") for row in rows}, {11})
        self.assertEqual(len(rows), 2 + 8)

    def test_json_has_runs_and_figures(self):
        found = json.loads(report.as_json(self.made))
        by_name = {(each["workload"], each["column"]): each for each in found["cells"]}
        ours = by_name["4k random read", "ourofs"]
        self.assertEqual([run["rate"] for run in ours["runs"]], [500, 480, 520])
        self.assertEqual(ours["figures"]["median"], 500)
        self.assertEqual(ours["ratios"]["native"], {"value": 0.5, "decided": True})
        inline = by_name["4k random read", "ourofs backing=inline"]
        self.assertFalse(inline["ratios"]["native"]["decided"])
        broken = by_name["unpack", "ourofs backing=inline"]
        self.assertEqual((broken["failure"], broken["figures"]), ("tar: it <broke>", None))
        self.assertEqual(found["warnings"], ["a warning"])
        self.assertEqual(found["mounts"][0]["reported"]["backing"], "ring")

    def test_the_page_escapes_what_it_shows(self):
        self.made.warnings.append("<b>")
        text = page.render(self.made, [])
        self.assertIn("Warning: &lt;b&gt;", text)
        self.assertNotIn("<b>", text)
        self.assertIn("<td>ourofs</td><td>500</td><td>8%</td><td>0.50</td><td>2.00</td>", text)


@unittest.skipIf(image is None, "there is no matplotlib: apt install python3-matplotlib")
class Plots(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        directory = tempfile.TemporaryDirectory(prefix="ourofsctl-figures.")
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        self.made = made_up.comparison()
        self.stems = plots.draw_all(self.made, self.path)

    def test_each_group_has_its_files(self):
        self.assertEqual([stem.name for stem in self.stems],
                         ["tmpfs-data-rates", "tmpfs-data-p99", "tmpfs-data-cpu",
                          "tmpfs-trees-rates", "tmpfs-trees-cpu"])

    def test_svg_says_the_figures_as_text(self):
        texts = self.texts("tmpfs-data-rates")
        for text in ("0.50", "0.94~", "0.25", "1.00", "ourofs backing=inline", "4k random read"):
            self.assertIn(text, texts)
        self.assertIn("12", self.texts("tmpfs-data-cpu"))

    def texts(self, name):
        root = xml.parse(self.path / f"{name}.svg").getroot()
        return [element.text.strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]

    def test_bars_are_as_long_as_their_values(self):
        pixels = image.imread(self.path / "tmpfs-data-rates.png")
        from matplotlib import pyplot  # pylint: disable=import-outside-toplevel
        colours = pyplot.get_cmap("tab20")
        self.assertEqual({plots.colour_of(number) for number in range(20)}, set(range(20)))
        lengths = [self.longest_run(pixels, colours(plots.colour_of(number)))
                   for number in range(4)]
        for length, value in zip(lengths, (1, 0.5, 0.94, 0.25)):
            self.assertAlmostEqual(length / lengths[0], value, delta=0.02)

    @staticmethod
    def longest_run(pixels, colour):
        """Of pixels of this colour in one row of the picture: the length of the bar."""
        same = (abs(pixels[:, :, :3] - colour[:3]) < 0.01).all(axis=2)
        return max(row.sum() for row in same)

    def test_the_page_has_every_plot_in_itself(self):
        text = page.render(self.made, self.stems)
        self.assertEqual(text.count("<svg"), 5)
        body = text[text.index("<body>"):]
        # The page is well formed, its ids are unique, and it refers to nothing outside.
        root = xml.fromstring(body.removesuffix("</html>\n"))
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        self.assertEqual(len(ids), len(set(ids)))
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    self.assertTrue(value.startswith("#") and value[1:] in ids, value)
                for target in value.split("url(#")[1:]:
                    self.assertIn(target.split(")")[0], ids)


if __name__ == "__main__":
    unittest.main()
