"""Source code becomes a document with its definitions as headings."""

import time
from pathlib import Path

import pytest

from indexer.chunk import chunk
from indexer.parse import Document
from indexer.parse.code import parse
from indexer.parse.grammars import BY_SUFFIX
from indexer.parse.symbols import symbols

# Each line with a mark begins a section: its level and title stand behind it.
SAMPLES = {
    ".py": '''
"""Größe 😀."""
import os

# Heats the water. 🫖                     #: 1 heat
@cache
def heat(degrees):
    def inner(): ...
    return inner

LIMIT = 90                                #: 1
class Boiler:                             #: 1 Boiler
    name = "Kessel 😀 ü"
    async def fill(self): ...             #: 2 fill
    valves = 3                            #: 2
    # Opens it.                           #: 2 open
    @property
    def open(self): ...

    # This stands apart.

    def close(self): ...                  #: 2 close

if LIMIT:                                 #: 1
    def drain(): ...                      #: 1 drain
''',
    ".js": """
// Größe 😀
import x from "y";

/** Fills it. ü */                        //: 1 fill
export function fill(a) { function inner() {} return a }
export default class Boiler extends Tank {  //: 1 Boiler
  name = "Kessel 😀";
  /* Opens it. */                         //: 2 open
  @dec open() {}
  static get level() {}                   //: 2 level
  onClick = () => { 1 };                  //: 2 onClick
}
const drain = async () => {};             //: 1 drain
exports.stop = function () {};            //: 1 exports.stop
Boiler.prototype.go = function go() {};   //: 1 Boiler.prototype.go
let limit = 3;                            //: 1
(function () {
  function hidden() {}                    //: 1 hidden
})();
""",
    ".ts": """
@Component({ a: "ü😀" })                   //: 1 Boiler
export class Boiler<T> {
  private level(): void {}                //: 2 level
  abstract open(): void;                  //: 2 open
}
interface Tank { a(): void }              //: 1 Tank
export type Litres = number;              //: 1 Litres
declare module "pipes" {                  //: 1 pipes
  function flow(): void;                  //: 2 flow
}
namespace Water.Hot {                     //: 1 Water.Hot
  export const heat = (x: number) => x;   //: 2 heat
}
""",
    ".tsx": """
export const Page = () => <p>ü 😀</p>;     //: 1 Page
enum Kind { A }                           //: 1 Kind
""",
    ".go": """
package main

// Boiler is a ü 😀                        //: 1 Boiler
type Boiler[K any] struct { a int }
func (b *Boiler[K]) Heat(a int) error { return nil }  //: 1 Boiler.Heat
func (b Tank) Fill() {}                   //: 1 Tank.Fill
func Main() {}                            //: 1 Main
var x = 3                                 //: 1
""",
    ".rs": """
//! Größe 😀
use x;

/// A boiler.                             //: 1 Boiler
#[derive(Debug)]
pub struct Boiler<T> { a: T }
impl<T: Clone> Display for Boiler<T> {    //: 1 impl<T: Clone> Display for Boiler<T>
    /// Shows ü.                          //: 2 fmt
    pub fn fmt(&self) {}
    const X: u8 = 1;                      //: 2
}
pub trait Tank {                          //: 1 Tank
    fn fill(&self);                       //: 2 fill
}
macro_rules! heat { () => {} }            //: 1 heat
mod elsewhere;                            //: 1
mod tests {                               //: 1 tests
    #[test]                               //: 2 it_heats
    fn it_heats() {}
}
""",
    ".java": """
package a.b;
/** Größe 😀 */                            //: 1 Boiler
@Ann
public class Boiler<T> extends Tank {
  private int x;
  // Runs it.                             //: 2 run
  @Override public void run() {}
  Boiler() {}                             //: 2 Boiler
  enum Kind { A, B }                      //: 2 Kind
  static { }                              //: 2
  record Size(int a) { }                  //: 2 Size
}
interface Tank { void fill(); }           //: 1 Tank // 2 fill
""",
    ".c": """
#include <a.h>
/* Größe 😀 */                             //: 1 name
static char *name(int a) { return 0; }
struct point { int x; };                  //: 1 point
typedef struct { int y; } pair_t;         //: 1 pair_t
struct point only_declared;               //: 1
#ifdef X
int plus(int) { }                         //: 1 plus
#endif
#define MAX(a,b) ((a)>(b))                //: 1 MAX
int proto(int);                           //: 1
""",
    ".hpp": """
namespace water::hot {                    //: 1 water::hot
/// Größe 😀                               //: 2 Boiler
template <typename T>
class Boiler : public Tank {
  int x;
  public:                                 //: 3 Boiler
  Boiler() : x(1) {}
  int operator+(int o) const { return 1; }  //: 3 operator+
};
}
void Boiler::heat(int) const {}           //: 1 Boiler::heat
std::vector<int>& levels() {}             //: 1 levels
extern "C" {                              //: 1
  void plain() {}                         //: 1 plain
}
enum class Kind { A };                    //: 1 Kind
""",
    ".cs": """
using System;
namespace Water.Hot {                     //: 1 Water.Hot
  /// Größe 😀                             //: 2 Boiler
  [Attr]
  public class Boiler : ITank {
    public int Level { get; set; }
    public Boiler() {}                    //: 3 Boiler
    public async Task Run<T>() { }        //: 3 Run
    public int this[int i] => 1;          //: 3 int this[int i]
  }
  interface ITank { }                     //: 2 ITank
  record Size(int A);                     //: 2 Size
}
""",
    ".rb": """
require "x"
# Größe 😀                                 #: 1 Water
module Water
  class Hot::Boiler < Tank                #: 2 Hot::Boiler
    attr_reader :x
    def heat(a) = 1                       #: 3 heat
    def self.make                         #: 3 make
    end
    private def hide; end                 #: 3 hide
    LIMIT = 1                             #: 3
  end
end
def top; end                              #: 1 top
""",
    ".php": """<?php
namespace Water\\Hot;
/** Größe 😀 */                            //: 1 Boiler
#[Attr]
final class Boiler extends Tank {
  private $y;
  public function heat(): void {}         //: 2 heat
}
trait Fills { function fill() {} }        //: 1 Fills // 2 fill
function top() {}                         //: 1 top
$drain = function () {};                  //: 1 $drain
""",
    ".sh": """
set -e

# Größe 😀                                 #: 1 fill
fill() { echo; }
function heat { echo; }                   #: 1 heat
x=1                                       #: 1
""",
    ".kt": """
package a
/** Größe 😀 */                            //: 1 Boiler
data class Boiler(val a: Int) : Tank() {
  val x = 1
  override fun heat(): Int { return 1 }   //: 2 heat
  companion object {                      //: 2 companion object
    fun make() {}                         //: 3 make
  }
}
fun String.pour() = 1                     //: 1 pour
""",
    ".swift": """
/// Größe 😀                               //: 1 Boiler
@objc public class Boiler: Tank {
  var x = 1
  @discardableResult func heat() -> Int { return 1 }  //: 2 heat
  init(a: Int) {}                         //: 2 init
}
extension Boiler { }                      //: 1 Boiler
protocol Tank { }                         //: 1 Tank
""",
    ".scala": """
package a.b
/** Größe 😀 */                            //: 1 Boiler
class Boiler(a: Int) extends Tank {
  val x = 1
  def heat(): Int = { def inner = 1; 1 }  //: 2 heat
}
object Boiler { def make = 1 }            //: 1 Boiler // 2 make
""",
    ".lua": """
local M = {}
-- Größe 😀                                --: 1 M.heat
function M.heat(a) end
local function hide() end                 --: 1 hide
M.fill = function() end                   --: 1 M.fill
return M                                  --: 1
""",
}


def expected(source: str) -> list[tuple[int, str, str]]:
    """(level, title, the line's beginning) of each marked line."""
    found: list[tuple[int, str, str]] = []
    for line in source.split("\n"):
        for mark in ("#: ", "//: ", "--: "):
            code, _, names = line.partition(mark)
            if names:
                for name in names.split(" // "):
                    level, _, title = name.partition(" ")
                    found.append((int(level), title, code.strip()[:12]))
                break
    return found


@pytest.mark.parametrize("suffix", SAMPLES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_each_definition_is_a_heading_that_begins_with_the_comment_above_it(suffix: str, line_end: str) -> None:
    source = SAMPLES[suffix].replace("\n", line_end)
    document = parse(source, suffix)
    assert (document.text, document.has_lines) == (source, True)
    got = [(heading.level, heading.title, source[heading.offset :]) for heading in document.headings]
    wanted = expected(SAMPLES[suffix])
    assert [heading[:2] for heading in got] == [heading[:2] for heading in wanted]
    for (_, title, at), (_, _, begin) in zip(got, wanted, strict=True):
        # A second definition on a line begins further right.
        assert at.startswith(begin) or title in at.split("\n")[0]


def test_every_language_has_a_sample() -> None:
    assert {BY_SUFFIX[suffix] for suffix in SAMPLES} == set(BY_SUFFIX.values())


@pytest.mark.parametrize(
    ("suffix", "source", "titles"),
    [
        (
            ".py",
            "def fine(): ...\n\ndef broken(:\n  x\n\nclass Also:\n  def here(self): ...\n",
            ["fine", "Also", "here"],
        ),
        (".js", "function fine() {}\nfunction broken( {\nfunction here() {}\n", ["fine", "here"]),
        (".go", "package a\nfunc Fine() {}\nvar x = = 3\nfunc Here() {}\n", ["Fine", "Here"]),
    ],
)
def test_a_file_with_a_syntax_error_keeps_its_other_headings(suffix: str, source: str, titles: list[str]) -> None:
    found = [heading.title for heading in symbols(source, suffix)]
    assert set(titles) <= set(found)


@pytest.mark.parametrize(
    "source", ["def broken(:\n", "(" * 5_000, "x = " + "-" * 50_000 + "1", "a\0b", "if 1:\n\t x\n  y"]
)
def test_code_that_does_not_compile_is_still_text(source: str) -> None:
    assert parse(source, ".py").text == source


def test_a_chunk_of_code_names_its_class_and_method() -> None:
    source = (
        "class Boiler {\n"
        + "  int x;\n" * 10
        + "".join(f"  /** Does step {n}. */\n  void step{n}() {{\n    // {'water ' * 30}\n  }}\n\n" for n in range(4))
    )
    document = parse(source + "}\n", ".java")

    def words(text: str) -> list[tuple[int, int]]:
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            spans.append((at, at + len(word)))
            at += len(word)
        return spans

    found = {found.heading: found.text for found in chunk(document, words, 60, 0)}
    assert list(found) == ["Boiler", *(f"Boiler > step{n}" for n in range(4))]
    assert all(found[f"Boiler > step{n}"].startswith(f"/** Does step {n}. */") for n in range(4))


def test_minified_huge_and_unknown_files_are_text_without_headings() -> None:
    line = "function f(){return 1};"
    assert symbols(line * 1_000, ".js") == ()
    assert symbols((line + "\n") * 60_000, ".js") == ()
    assert symbols((line + "\n") * 1_000, ".js") != ()
    assert parse("fn x() {}", ".zig") == Document("fn x() {}", None, "code", has_lines=True)


@pytest.mark.parametrize("suffix", [".c", ".cs", ".hpp", ".ts", ".py", ".rb", ".go", ".php", ".java"])
@pytest.mark.parametrize(
    "piece", ["(", "a<", "{", "[[", "a.b<c,", "x=(a", '"', "/*", "class a{\n", "#if a\n", "\0", "😀"]
)
def test_a_hostile_file_is_given_up_on_soon(suffix: str, piece: str) -> None:
    line = (piece * 100)[:100] + "\n"
    source = line * 200
    began = time.process_time()
    assert parse(source, suffix).text == source
    assert time.process_time() - began < 8


def test_text_no_encoding_has_still_gives_exact_offsets() -> None:
    source = "# \ud800 half a letter 😀\n\ndef heat(): ...\n"
    assert [source[heading.offset :] for heading in symbols(source, ".py")] == ["def heat(): ...\n"]


def test_reading_many_files_keeps_none_of_them_in_memory() -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the process's memory is read from /proc")
    source = "def heat():\n    return 'water'\n\n\n" * 10_000

    def pages() -> int:
        return int(statm.read_text().split()[1])

    for _ in range(3):
        symbols(source, ".py")
    before = pages()
    for _ in range(20):
        symbols(source, ".py")
    assert (pages() - before) * 4_096 < 10 * len(source)


@pytest.mark.parametrize(
    ("name", "source", "signature"),
    [
        ("a.py", "@cached\ndef fire(\n    hours: int,\n) -> None:\n    pass\n", "def fire( hours: int, ) -> None:"),
        ("a.js", "export const fire = async (hours) => {\n  wait();\n};\n", "fire = async (hours) =>"),
        ("a.go", "func (k *Kiln) Fire(hours int) error {\n\treturn nil\n}\n", "func (k *Kiln) Fire(hours int) error"),
        ("a.java", "class Kiln extends Oven {\n  void fire() {}\n}\n", "class Kiln extends Oven"),
        ("a.kt", "fun fire(hours: Int): Unit {\n  wait()\n}\n", "fun fire(hours: Int): Unit"),
        ("a.rs", "impl Display for Kiln {\n  fn fmt(&self) {}\n}\n", "impl Display for Kiln"),
    ],
)
def test_a_definition_knows_how_it_is_declared(name: str, source: str, signature: str) -> None:
    assert parse(source, Path(name).suffix).headings[0].signature == signature
