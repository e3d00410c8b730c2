using NUnit.Framework;

namespace Saturn.Tests.CommandLine;

/// <summary>Bad input never becomes a number: each is refused in one line that names what was wrong, with an exit code, and leaves nothing behind.</summary>
public sealed class RefusalTests : CommandLineTest
{
    [TestCase("--frobnicate 3", "'--frobnicate'")]
    [TestCase("--lambda -1", "--lambda must be 0 or above, but is -1")]
    [TestCase("--lambda nan", "--lambda must be 0 or above, but is NaN")]
    [TestCase("--dead-threshold -1", "--dead-threshold must be 0 or above, but is -1")]
    [TestCase("--census-images 0", "--census-images must be at least 1, but is 0")]
    [TestCase("--method dense --lambda 1 --residual tied", "--method dense does not go with --lambda, --residual")]
    [TestCase("--noise-std 1 --noise-variance 1", "give one of them")]
    [TestCase("--noise loud", "--noise must be one of asymmetric, symmetric, off, but is 'loud'")]
    [TestCase("--lr fast", "--lr must be a number, but is 'fast'")]
    [TestCase("--lr 0", "--lr must be a positive number, but is 0")]
    [TestCase("--seed -1", "--seed must be a whole number, 0 or above, but is '-1'")]
    [TestCase("--clip-norm 99999999999x", "--clip-norm must be a number")]
    [TestCase("--checkpoint-every 99999999999", "--checkpoint-every must be a whole number, but is '99999999999'")]
    [TestCase("--accumulate 2000000000", "larger than the 16 training images")]
    [TestCase("--device abacus", "Unknown device 'abacus'")]
    [TestCase("--data-folder", "'--data-folder'")]
    [TestCase("--precision fp8", "--precision must be one of fp32, tf32, bf16, but is 'fp8'")]
    [TestCase("--precision bf16 --device cpu", "--precision bf16 needs a CUDA device (--device cuda:0, or emulated), but the device is 'cpu'")]
    public void An_option_out_of_range(string options, string expected)
    {
        Assert.That(Refusal(Train("refused", [.. Tiny(), .. options.Split(' ')])), Does.Contain(expected));
        Assert.That(Directory.EnumerateFileSystemEntries(Root), Is.Empty);
    }

    [TestCase("--batch 1000", "--batch 1000 is larger than the 16 training images")]
    [TestCase("--graph on", "--graph on does not fit this run: cpu does not record steps. Use --graph auto")]
    [TestCase("--graph perhaps", "--graph must be one of auto, on, off, but is 'perhaps'")]
    [TestCase("--data-on disk", "--data-on must be one of auto, device, host, but is 'disk'")]
    [TestCase("--model abc", "Unknown model 'abc'")]
    [TestCase("--data mnist", "write mnist:FOLDER")]
    [TestCase("--data cifar10:/nowhere", "'/nowhere' does not exist")]
    [TestCase("--width 1000000000", "has no room")]
    [TestCase("--lr 1e30 --optimizer sgd", "the run has diverged. Lower --lr (now 1E+30)")]
    public void A_run_that_cannot_be(string options, string expected)
    {
        string message = Refusal(Train("refused", [.. options.Split(' '), .. Unless("--model", "mlp"), .. Unless("--batch", "8"), "--train-images", "16"]));
        Assert.That(message, Does.Contain(expected));
        Assert.That(Directory.EnumerateFileSystemEntries(Root), Is.Empty);

        string[] Unless(string option, string value) => options.Contains(option) ? [] : [option, value];
    }

    [TestCase("")]
    [TestCase(".")]
    [TestCase("..")]
    [TestCase("a/../..")]
    public void A_run_name_that_is_not_a_folder_of_its_own(string name) =>
        Assert.That(Refusal(Train(name, Tiny())), Does.Contain("--run must be the name of a folder"));

    [Test]
    public void A_run_folder_that_exists_or_cannot_be_written()
    {
        Success(Train("first", Tiny()));
        string[] before = Files("first");
        Assert.That(Refusal(Train("first", Tiny())), Does.Contain("choose another --run name, continue it with --resume, or replace it with --overwrite"));
        Assert.That(Refusal(Train("first", "--resume")), Does.Contain("has finished"));
        Assert.That(Refusal(Train("first/config.json/inner", Tiny())), Does.Contain("cannot be written").And.Contain("choose another --runs folder"));
        Assert.That(Files("first"), Is.EquivalentTo(before));
        Success(Train("first", [.. Tiny(), "--overwrite"]));
        Assert.That(Files("first"), Is.EquivalentTo(before));
    }

    [Test]
    public void Replacing_a_run_and_cleaning_up_after_one_spare_the_files_of_others()
    {
        Directory.CreateDirectory(Run("notes"));
        File.WriteAllText(Path.Combine(Run("notes"), "mine.txt"), "mine");
        Assert.That(Refusal(Train("notes", "--train-images", "16", "--batch", "8", "--model", "mlp", "--lr", "1e30")), Does.Contain("diverged"));
        Assert.That(Files("notes"), Is.EqualTo(new[] { "mine.txt" }));
        Success(Train("notes", Tiny()));
        Success(Train("notes", [.. Tiny(), "--overwrite"]));
        Assert.That(Files("notes"), Does.Contain("mine.txt"));
    }

    [Test]
    public void Resuming_what_is_not_there_or_with_other_options()
    {
        Assert.That(Refusal(Train("nothing", "--resume")), Does.Contain("is no run folder"));
        Assert.That(Refusal("eval", "nothing", "--runs", Root), Does.Contain("is no run folder"));
        Success(Train("run", Tiny()));
        CopyUnfinished("run", "other");
        Assert.That(Refusal(Train("other", "--resume", "--width", "8", "--overwrite")), Does.Contain("but --width, --overwrite came too"));
        File.Delete(Path.Combine(Run("other"), "config.json"));
        Assert.That(Refusal(Train("other", Tiny())), Does.Contain("exists"), "a checkpoint without its options is not built upon");
    }

    [Test]
    public void A_damaged_configuration_or_metrics_file()
    {
        Success(Train("run", Tiny()));
        string path = CopyUnfinished("run", "damaged");
        string config = File.ReadAllText(Path.Combine(path, "config.json"));
        foreach (string text in (string[])["", "{", "null", "[]", config.Replace("\"epochs\": 2", "\"epochs\": \"two\""), config.Replace("\"epochs\"", "\"epoch\"")])
        {
            File.WriteAllText(Path.Combine(path, "config.json"), text);
            Assert.That(Refusal(Train("damaged", "--resume")), Does.Contain("config.json is damaged"), text);
        }

        foreach (var (from, to) in (ReadOnlySpan<(string, string)>)[("\"width\": 4", "\"width\": 8"), ("\"mlp\"", "\"cnn\""), ("\"seed\": 0", "\"seed\": 1")])
        {
            Assert.That(config, Does.Contain(from));
            File.WriteAllText(Path.Combine(path, "config.json"), config.Replace(from, to));
            Assert.That(Refusal(Train("damaged", "--resume")), Does.Contain("belongs to another run"), to);
        }

        File.WriteAllText(Path.Combine(path, "config.json"), config.Replace("\"adam\"", "\"sgd\""));
        Assert.That(Refusal(Train("damaged", "--resume")), Does.Contain("written with optimizer adam, but sgd is asked for"));
        File.WriteAllText(Path.Combine(path, "config.json"), config);
        string metrics = File.ReadAllText(Path.Combine(path, "metrics.jsonl"));
        File.WriteAllText(Path.Combine(path, "metrics.jsonl"), "x" + metrics);
        Assert.That(Refusal(Train("damaged", "--resume")), Does.Contain("Line 1 of").And.Contain("is damaged"));
        Assert.That(File.ReadAllText(Path.Combine(path, "metrics.jsonl")), Is.EqualTo("x" + metrics), "nothing is thrown away");

        // A last line that was cut off is what an interruption leaves; an option of a later version that is missing takes its default.
        File.WriteAllText(Path.Combine(path, "metrics.jsonl"), metrics + "{\"epoch\":");
        File.WriteAllText(Path.Combine(path, "config.json"), config.Replace("\"decay_norms\": true,", ""));
        Assert.That(config, Does.Contain("\"decay_norms\": true,"));
        Success(Train("damaged", "--resume"));
        AssertSame("run", "damaged");
    }

    [Test]
    public void A_damaged_checkpoint()
    {
        Success(Train("run", Tiny()));
        string folder = Path.Combine(CopyUnfinished("run", "damaged"), "checkpoint");
        foreach (string name in (string[])["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"])
        {
            string file = Path.Combine(folder, name);
            byte[] whole = File.ReadAllBytes(file);
            foreach (int length in (int[])[0, 1, 8, 20, whole.Length / 2, whole.Length - 1])
            {
                // The end of the line that closes the checksums says nothing.
                Damage(whole[..Math.Min(length, name == "SHA256SUMS" ? whole.Length - 2 : whole.Length)], $"{name} cut to {length} bytes");
            }

            foreach (int at in (int[])[0, 7, 8, 30, whole.Length / 2, whole.Length - 2])
            {
                byte[] flipped = [.. whole];
                flipped[at] ^= 4;
                Damage(flipped, $"{name} with another byte {at}");
            }

            File.Delete(file);
            Expect($"{name} deleted");
            File.WriteAllBytes(file, whole);

            void Damage(byte[] bytes, string what)
            {
                File.WriteAllBytes(file, bytes);
                Expect(what);
            }
        }

        Success("eval", "damaged", "--runs", Root);

        void Expect(string what)
        {
            string[] before = Files("damaged");
            Assert.That(Refusal("eval", "damaged", "--runs", Root), Does.Contain("is damaged").Or.Contain("no whole checkpoint"), what);
            Assert.That(Refusal(Train("damaged", "--resume")), Does.Contain("is damaged").Or.Contain("no whole checkpoint"), what);
            Assert.That(Files("damaged"), Is.EquivalentTo(before), what);
        }
    }

    [Test]
    public void A_checkpoint_of_another_network()
    {
        Success(Train("narrow", Tiny(4)));
        Success(Train("wide", Tiny(6)));
        string folder = Path.Combine(CopyUnfinished("narrow", "mixed"), "checkpoint");
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Run("wide"), "checkpoint")))
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        }

        Assert.That(Refusal(Train("mixed", "--resume")), Does.Contain("belongs to another run").And.Contain("Width = 6").And.Contain("Width = 4"));
        Assert.That(Refusal("eval", "wide", "--runs", Root, "--data", "mnist:/nowhere"), Does.Contain("'/nowhere' does not exist"));
    }
}
