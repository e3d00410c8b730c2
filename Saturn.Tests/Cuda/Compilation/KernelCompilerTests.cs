using System.Text;
using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>What the compiler makes of a good file, and what it says about a bad one.</summary>
public sealed class KernelCompilerTests
{
    private const string Good =
        """
        #include "common.cuh"

        extern "C" __global__ void __launch_bounds__(256) sum(const float* input, float* output)
        {
            __shared__ float scratch[32];
            float total = reduceBlock(input[globalThread()], Sum(), 0.0f, scratch);
            if (threadIdx.x == 0)
            {
                output[blockIdx.x] = total;
            }
        }

        extern "C" __global__ void first(float* output)
        {
            output[threadIdx.x] = 1;
        }
        """;

    private KernelCompiler compiler = null!;

    [OneTimeSetUp]
    public void OpenCompiler()
    {
        Nvrtc.Require();
        compiler = KernelCompiler.Create(new KernelCache(null));
    }

    [OneTimeTearDown]
    public void CloseCompiler() => compiler?.Dispose();

    [Test]
    public void Ptx_names_the_kernels_and_their_source_lines_and_ends_with_a_zero_byte()
    {
        CompiledModule module = Compile(Good, "compute_80");
        string ptx = module.PtxText();
        Assert.That(module.IsPtx);
        Assert.That(module.Image[^1], Is.Zero);
        Assert.That(ptx, Does.Contain(".target sm_80").And.Contain(".visible .entry sum("));
        Assert.That(ptx, Does.Match("""\.file\s+\d+ "test.cu"\n""").And.Match("""\.file\s+\d+ "common.cuh"\n"""), "the folder of the compilation is no part of the result");
        Assert.That(ptx, Does.Match(@"\.loc\s+\d+ 6 "));
        Assert.That(module.Kernels, Is.EqualTo((KernelResources[])[new("first"), new("sum")]));
    }

    [TestCase("sm_80")]
    [TestCase("sm_90a")]
    public void Machine_code_comes_with_the_resources_of_each_kernel(string target)
    {
        CompiledModule module = Compile(Good, target);
        Assume.That(module.Architecture, Is.EqualTo(target), "NVRTC 11.8 makes PTX for sm_90");
        Assert.That(module.IsPtx, Is.False);
        Assert.That(Encoding.ASCII.GetString(module.Image, 1, 3), Is.EqualTo("ELF"));
        Assert.That(module.Kernels.Select(kernel => kernel.Name), Is.EqualTo((string[])["first", "sum"]));
        KernelResources sum = module.Kernels[1];
        Assert.That(sum.SharedBytes, Is.EqualTo(128));
        Assert.That(sum.Registers, Is.InRange(6, 64));
        Assert.That((sum.SpillStoreBytes, sum.SpillLoadBytes, sum.StackBytes), Is.EqualTo((0, 0, 0)));
        Assert.That(() => module.PtxText(), Throws.InvalidOperationException);
    }

    [Test]
    public void Spills_are_counted()
    {
        // Sixty-four values are alive at the barrier, and a thread may have 32 registers.
        const string Spilling =
            """
            extern "C" __global__ void __launch_bounds__(1024, 2) spill(const float* input, float* output)
            {
                float values[64];
            #pragma unroll
                for (int i = 0; i < 64; i++) values[i] = input[i * 4096 + threadIdx.x];
                __syncthreads();
            #pragma unroll
                for (int i = 0; i < 64; i++) output[i * 4096 + threadIdx.x] = values[i] * values[63 - i];
            }
            """;
        KernelResources kernel = Compile(Spilling, "sm_80").Kernels.Single();
        Assert.That(kernel.Registers, Is.EqualTo(32));
        Assert.That(kernel.SpillStoreBytes, Is.GreaterThan(0));
        Assert.That(kernel.SpillLoadBytes, Is.GreaterThan(0));
        Assert.That(kernel.StackBytes, Is.GreaterThan(0));
    }

    [Test]
    public void An_error_shows_file_line_source_and_the_compilers_message()
    {
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(() => Compile(Good.Replace("input[globalThread()]", "inputs[globalThread()]"), "compute_80"))!;
        Assert.That(exception.Diagnostics[0], Is.EqualTo(new KernelDiagnostic(
            "test.cu", 6, "error", "identifier \"inputs\" is undefined", "    float total = reduceBlock(inputs[globalThread()], Sum(), 0.0f, scratch);")));
        Assert.That(exception.Message, Does.Contain("test.cu(6): error: identifier \"inputs\" is undefined").And.Contain("    float total = reduceBlock(inputs[globalThread()]"));
    }

    [Test]
    public void An_error_in_a_header_names_the_header()
    {
        KernelSource source = new("test.cu", "#include \"own.cuh\"\n" + Good, new Dictionary<string, string> { ["own.cuh"] = "#pragma once\nint broken(\n" });
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(() => compiler.Compile(source, new KernelTarget("compute_80")))!;
        Assert.That(exception.Diagnostics[0].File, Is.EqualTo("own.cuh"));
    }

    [Test]
    public void A_missing_header_is_named()
    {
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(() => Compile(Good.Replace("common.cuh", "uncommon.cuh"), "compute_80"))!;
        Assert.That(exception.Message, Does.Contain("test.cu(1)").And.Contain("uncommon.cuh"));
    }

    [Test]
    public void A_warning_is_an_error() =>
        Assert.That(
            () => Compile(Good.Replace("output[threadIdx.x] = 1;", "int unused; output[threadIdx.x] = 1;"), "compute_80"),
            Throws.TypeOf<KernelCompilationException>().With.Message.Contains("warnings count as errors").And.Message.Contains("test.cu(15): warning: variable \"unused\" was declared but never referenced"));

    [Test]
    public void Users_headers_and_built_in_ones_are_part_of_the_source_only_where_included()
    {
        KernelSource source = new(
            "test.cu", "#include \"own.cuh\"\n", new Dictionary<string, string> { ["own.cuh"] = "#pragma once\n#include \"common.cuh\"\n", ["other.cuh"] = "" });
        Assert.That(source.Headers.Keys, Is.EqualTo((string[])["common.cuh", "own.cuh"]));
    }

    [Test]
    public void An_architecture_newer_than_the_compiler_gets_ptx_of_the_newest_it_knows()
    {
        CompiledModule module = Compile(Good, "sm_999");
        Assert.That(module.IsPtx);
        Assert.That(module.Architecture, Does.Match("^compute_[0-9]+$"));
    }

    [TestCase("sm_20", "it knows sm_")]
    [TestCase("compute_999", "it knows sm_")]
    [TestCase("hopper", "'hopper' names no target")]
    [TestCase("sm_", "'sm_' names no target")]
    public void A_target_that_cannot_be_is_refused(string target, string expected) =>
        Assert.That(() => Compile(Good, target), Throws.ArgumentException.With.Message.Contains(expected));

    [Test]
    public void An_unknown_built_in_file_and_an_unmarked_struct_are_refused()
    {
        Assert.That(() => KernelSource.BuiltIn("unknown.cu"), Throws.ArgumentException.With.Message.Contains("There is no kernel file 'unknown.cu'"));
        Assume.That(BuiltInKernels.FileNames, Is.Not.Empty);
        Assert.That(() => KernelSource.BuiltIn(BuiltInKernels.FileNames[0], typeof(DateTime)), Throws.ArgumentException.With.Message.Contains("[KernelArguments("));
    }

    [Test]
    public void Many_threads_compile_at_once()
    {
        byte[][] images = [.. Enumerable.Range(0, 16).AsParallel().AsOrdered().WithDegreeOfParallelism(8).Select(i => Compile(Good + $"\n// {i % 4}\n", "sm_80").Image)];
        Assert.That(images, Has.All.Not.Empty);
        Assert.That(images.Select(image => Convert.ToHexString(image)).Distinct().Count(), Is.EqualTo(1), "a comment changes nothing");
    }

    private CompiledModule Compile(string text, string target) => compiler.Compile(new KernelSource("test.cu", text, null), new KernelTarget(target));
}
