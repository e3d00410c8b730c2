using System.Diagnostics;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Architecture;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>The cache of compiled modules: hits, damage, limits, and many at once. Most tests need no compiler.</summary>
public sealed class KernelCacheTests
{
    private static readonly string Key = new('a', 64);

    private string folder = null!;

    [SetUp]
    public void CreateFolder() => folder = Directory.CreateTempSubdirectory("saturn-cache-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(folder, true);

    [Test]
    public void A_module_is_compiled_once_and_comes_back_whole()
    {
        CompiledModule made = Module(1000);
        CompiledModule read = new KernelCache(folder).Get(Key, () => made);
        Assert.That(read, Is.SameAs(made));
        KernelCache other = new(folder);
        CompiledModule again = other.Get(Key, NotCalled);
        Assert.That(again.Image, Is.EqualTo(made.Image));
        Assert.That(again.Kernels, Is.EqualTo(made.Kernels));
        Assert.That((again.SourceName, again.Architecture, again.Log, again.IsPtx), Is.EqualTo((made.SourceName, made.Architecture, made.Log, made.IsPtx)));
        Assert.That(other.Get(Key, NotCalled), Is.SameAs(again), "the process remembers it");
    }

    [Test]
    public void Damage_anywhere_is_seen_and_healed([Values(0, 3, 20, 40, 60, -1)] int position)
    {
        new KernelCache(folder).Get(Key, () => Module(1000));
        string path = new KernelCache(folder).PathOf(Key);
        byte[] bytes = File.ReadAllBytes(path);
        bytes[position < 0 ? ^1 : position] ^= 1;
        File.WriteAllBytes(path, bytes);
        ExpectHealed(path);
    }

    [Test]
    public void A_truncated_entry_is_seen_and_healed([Values(0, 10, 36, 500)] int length)
    {
        new KernelCache(folder).Get(Key, () => Module(1000));
        string path = new KernelCache(folder).PathOf(Key);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..length]);
        ExpectHealed(path);
    }

    [Test]
    public void A_failed_compilation_is_not_remembered()
    {
        KernelCache cache = new(folder);
        Assert.That(() => cache.Get(Key, () => throw new InvalidOperationException("no")), Throws.InvalidOperationException);
        Assert.That(cache.Get(Key, () => Module(10)).Image, Has.Length.EqualTo(10));
    }

    [Test]
    public void Without_a_folder_or_with_one_that_cannot_be_written_everything_works()
    {
        Assert.That(new KernelCache(null).Get(Key, () => Module(10)).Image, Has.Length.EqualTo(10));
        string file = Path.Combine(folder, "file");
        File.WriteAllText(file, "");
        Assert.That(new KernelCache(Path.Combine(file, "below")).Get(Key, () => Module(10)).Image, Has.Length.EqualTo(10));
    }

    [Test]
    public void The_least_recently_used_entries_go_when_the_limit_is_passed()
    {
        string[] keys = [.. Enumerable.Range(0, 5).Select(i => new string((char)('0' + i), 64))];
        KernelCache cache = new(folder, 4500);
        for (int i = 0; i < 4; i++)
        {
            cache.Get(keys[i], () => Module(1000));
            File.SetLastAccessTimeUtc(cache.PathOf(keys[i]), DateTime.UtcNow.AddMinutes(i - 10));
        }

        // Reading the oldest makes it the youngest.
        new KernelCache(folder, 4500).Get(keys[0], NotCalled);
        string abandoned = Path.Combine(folder, "00", "left.behind");
        File.WriteAllText(abandoned, "");
        File.SetLastWriteTimeUtc(abandoned, DateTime.UtcNow.AddHours(-2));
        cache.Get(keys[4], () => Module(1000));
        Assert.That(keys.Select(key => File.Exists(cache.PathOf(key))), Is.EqualTo((bool[])[true, false, true, true, true]));
        Assert.That(File.Exists(abandoned), Is.False);
    }

    [Test]
    public void Many_caches_on_one_folder_always_yield_whole_modules()
    {
        // Caches of their own share nothing but the folder, as processes do. The limit makes some of them delete what others read.
        string[] keys = [.. Enumerable.Range(0, 4).Select(i => new string((char)('0' + i), 64))];
        Parallel.For(0, 400, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
        {
            CompiledModule module = new KernelCache(folder, 20_000).Get(keys[i % 4], () => Module(5000 + (i % 4)));
            Assert.That(module.Image, Is.EqualTo(Module(5000 + (i % 4)).Image));
        });
        Assert.That(Directory.GetFiles(folder, "*", SearchOption.AllDirectories), Has.All.EndsWith(".kernel"), "no temporary file stays");
    }

    [Test]
    public void Threads_that_ask_for_one_module_at_once_wait_for_one_compilation()
    {
        KernelCache cache = new(folder);
        int compilations = 0;
        Parallel.For(0, 32, new ParallelOptions { MaxDegreeOfParallelism = 8 }, _ => cache.Get(Key, () =>
        {
            Interlocked.Increment(ref compilations);
            Thread.Sleep(20);
            return Module(10);
        }));
        Assert.That(compilations, Is.EqualTo(1));
    }

    [Test]
    public void The_key_covers_all_that_the_result_depends_on()
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create(new KernelCache(folder));
        KernelTarget target = new("compute_80");
        Dictionary<string, string> headers = new() { ["own.cuh"] = "#pragma once\n" };
        const string Text = "#include \"own.cuh\"\nstruct Point { int x; };\n";
        string key = compiler.Key(new KernelSource("a.cu", Text, headers, typeof(Point)), target);
        Assert.That(compiler.Key(new KernelSource("a.cu", Text, new Dictionary<string, string>(headers) { ["unused.cuh"] = "" }, typeof(Point)), target), Is.EqualTo(key));
        string[] others =
        [
            compiler.Key(new KernelSource("b.cu", Text, headers, typeof(Point)), target),
            compiler.Key(new KernelSource("a.cu", Text + " ", headers, typeof(Point)), target),
            compiler.Key(new KernelSource("a.cu", Text, new Dictionary<string, string> { ["own.cuh"] = "#pragma once\n\n" }, typeof(Point)), target),
            compiler.Key(new KernelSource("a.cu", Text, headers), target),
            compiler.Key(new KernelSource("a.cu", Text, headers, typeof(Point)), new KernelTarget("sm_80")),
            compiler.Key(new KernelSource("a.cu", Text, headers, typeof(Point)), new KernelTarget("compute_90")),
        ];
        Assert.That(others, Has.None.EqualTo(key));
        Assert.That(others, Is.Unique);
    }

    [Test]
    public void A_compiler_reads_what_another_one_wrote()
    {
        Nvrtc.Require();
        KernelSource source = new("a.cu", "extern \"C\" __global__ void one(float* x) { x[0] = 1; }\n", null);
        KernelTarget target = new("sm_80");
        using KernelCompiler first = KernelCompiler.Create(new KernelCache(folder));
        CompiledModule written = first.Compile(source, target);
        string file = Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Single();
        DateTime time = File.GetLastWriteTimeUtc(file);
        using KernelCompiler second = KernelCompiler.Create(new KernelCache(folder));
        Assert.That(second.Compile(source, target).Image, Is.EqualTo(written.Image));
        Assert.That(File.GetLastWriteTimeUtc(file), Is.EqualTo(time));
        second.CompileAgain(source, target);
        Assert.That(File.GetLastWriteTimeUtc(file), Is.GreaterThan(time));
    }

    [Test]
    public void Processes_that_compile_at_once_agree()
    {
        Nvrtc.Require();
        Assume.That(BuiltInKernels.FileNames, Is.Not.Empty);
        string program = Path.Combine(FloorTests.Root, "artifacts", "bin", "Saturn.Cli", new DirectoryInfo(TestContext.CurrentContext.TestDirectory).Name, "saturn.dll");
        using KernelCompiler compiler = KernelCompiler.Create();
        Process[] processes = [.. Enumerable.Range(0, 3).Select(_ =>
        {
            ProcessStartInfo start = new("dotnet", [program, "kernels", "show", BuiltInKernels.FileNames[0]]) { RedirectStandardOutput = true, RedirectStandardError = true };
            start.Environment["SATURN_CACHE_DIR"] = folder;
            start.Environment["SATURN_NVRTC"] = compiler.NvrtcPath;
            return Process.Start(start)!;
        })];
        string[] outputs = [.. processes.AsParallel().WithDegreeOfParallelism(3).Select(process =>
        {
            using (process)
            {
                string output = process.StandardOutput.ReadToEnd();
                string errors = process.StandardError.ReadToEnd();
                process.WaitForExit();
                return process.ExitCode == 0 ? output : errors;
            }
        })];
        Assert.That(outputs, Has.All.Contains(".entry"));
        Assert.That(outputs.Distinct().Count(), Is.EqualTo(1));
        Assert.That(Directory.GetFiles(folder, "*", SearchOption.AllDirectories), Has.Length.EqualTo(1).And.All.EndsWith(".kernel"));
    }

    private void ExpectHealed(string path)
    {
        int compilations = 0;
        Assert.That(new KernelCache(folder).Get(Key, () => { compilations++; return Module(1000); }).Image, Is.EqualTo(Module(1000).Image));
        Assert.That(compilations, Is.EqualTo(1), path);
        Assert.That(new KernelCache(folder).Get(Key, NotCalled).Image, Is.EqualTo(Module(1000).Image));
    }

    private static CompiledModule NotCalled() => throw new AssertionException("The cache compiled what it holds.");

    private static CompiledModule Module(int bytes) => new(
        "test.cu", "sm_80", [.. Enumerable.Range(0, bytes).Select(i => (byte)(i * 31))], [new KernelResources("first", 10, 0, 0, 8, 128), new KernelResources("second")], "ptxas info\n");

#pragma warning disable CS0649 // Read by reflection.
    private struct Point
    {
        public int X;
    }
}
