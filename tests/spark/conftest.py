import os
import pathlib
import sys

# Where the scripts are, and the Python of Spark's workers.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "deploy/spark"))
os.environ["PYSPARK_PYTHON"] = sys.executable
