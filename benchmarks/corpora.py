"""Peak memory and time of preparing a corpus with one large file among small ones: a fresh process for each way.

python benchmarks/corpora.py                    # writes benchmarks/results/corpora.json
python benchmarks/corpora.py --megabytes 30 --ways separator passages
"""

import argparse
import datetime
import gzip
import json
import pathlib
import platform
import subprocess
import sys
import tempfile

SMALL = 200  # files beside the large one, of 2 kB each
# How the large file is read, by fields of the corpus; "small" leaves it out.
WAYS = {
    "small files alone": {"path": "*small*.txt"},
    "separator": {"path": "*.txt", "separator": "<|endoftext|>"},
    "passages": {"path": "*.txt", "passage_characters": 10_000},
    "JSON lines": {"path": "*.jsonl"},
    "JSON array": {"path": "*.json"},
    "compressed": {"path": "*.txt.gz", "separator": "<|endoftext|>"},
    "one document": {"path": "*.txt"},
}
PROGRAM = """
import json, pathlib, resource, sys, time
from jaxscale import config, data
corpus = config.Corpus(kind="files", **json.loads(sys.argv[1]))
start = time.perf_counter()
facts = data.prepare(corpus, config.Tokenizer(kind=sys.argv[3]), pathlib.Path(sys.argv[2])).facts
seconds = time.perf_counter() - start
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
read = facts["documents_read"], facts["bytes"]
print(json.dumps({"peak_megabytes": round(megabytes), "seconds": round(seconds, 1), "documents_and_bytes": read}))
"""


def write(folder, megabytes):
    """One text of numbered lines, a document a thousand of them, in every form; and small ones."""
    with (
        open(folder / "large.txt", "w") as text,
        open(folder / "large.jsonl", "w") as lines,
        open(folder / "large.json", "w") as array,
        gzip.open(folder / "large.txt.gz", "wt", compresslevel=1) as compressed,
    ):
        array.write("[")
        written = number = 0
        while written < megabytes * 2**20:
            document = "".join(f"Line {number * 1000 + i} of a long text.\n" for i in range(1000))
            for file in (text, compressed):
                file.write(f"{document}<|endoftext|>\n")
            record = json.dumps({"text": document})
            lines.write(f"{record}\n")
            array.write(f"{', ' * (number > 0)}{record}")
            written, number = written + len(document), number + 1
        array.write("]")
    for i in range(SMALL):
        (folder / f"small{i}.txt").write_text(f"A small file, number {i}. " * 80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300, help="of the large file")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--tokenizer", default="bytes", choices=["bytes", "bpe"])
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        write(pathlib.Path(name), options.megabytes)
        for way in options.ways:
            fields = WAYS[way] | {"path": f"{name}/{WAYS[way]['path']}"}
            command = [sys.executable, "-c", PROGRAM, json.dumps(fields), f"{name}/{way}.corpus", options.tokenizer]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows[way] = json.loads(done.stdout)
            print(f"{way}: {rows[way]}", flush=True)
    result = {
        "benchmark": "corpora",
        "large_file_megabytes": options.megabytes,
        "small_files": SMALL,
        "tokenizer": options.tokenizer,
        "ways": rows,
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
    if options.ways == list(WAYS):
        path = pathlib.Path(__file__).parent / "results" / "corpora.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
