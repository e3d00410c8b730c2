using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda.Compilation;

/// <summary>A C# argument struct and its CUDA counterpart: equal ones compile, and every difference is an error that names the field.</summary>
public sealed class KernelLayoutTests
{
    private const string Good =
        """
        struct Inner { int stride; float weights[3]; };
        enum class Rule : unsigned char { plain };
        struct LayoutArguments
        {
            const float* __restrict__ input;
            float* wrapped;
            int count;
            float scale;
            double epsilon;
            unsigned char flag;
            Rule rule;
            unsigned short width;
            unsigned long long seed;
            Inner inner;
            int sizes[2][3];
            float* outputs[2];
            Inner inners[2];
            long long last;
        };
        extern "C" __global__ void scale(const __grid_constant__ LayoutArguments arguments)
        {
            if (threadIdx.x < arguments.count)
            {
                arguments.wrapped[threadIdx.x] = arguments.input[threadIdx.x] * arguments.scale;
            }
        }
        """;

    [OneTimeSetUp]
    public void RequireNvrtc() => Nvrtc.Require();

    [TestCase("compute_80")]
    [TestCase("sm_80")]
    public void Equal_layouts_compile(string target)
    {
        CompiledModule module = Compile(Good, target);
        Assert.That(module.Kernels.Select(kernel => kernel.Name), Is.EqualTo((string[])["scale"]));
    }

    [TestCase("int count;\n    float scale;", "float scale;\n    int count;", "count", "offset 16")]
    [TestCase("int count;", "unsigned int count;", "count", "int, 4 bytes")]
    [TestCase("int count;", "float count;", "count", "int, 4 bytes")]
    [TestCase("float scale;", "int scale;", "scale", "float, 4 bytes")]
    [TestCase("float scale;", "", "scale", "scale")]
    [TestCase("double epsilon;", "long long epsilon;", "epsilon", "double, 8 bytes")]
    [TestCase("double epsilon;", "float epsilon, rest;", "epsilon", "double, 8 bytes")]
    [TestCase("const float* __restrict__ input;", "long long input;", "input", "a pointer")]
    [TestCase("float* wrapped;", "double wrapped;", "wrapped", "WrappedPointer")]
    [TestCase("int sizes[2][3];", "int sizes[5];\n    int rest;", "sizes", "an array of 6 × int")]
    [TestCase("int sizes[2][3];", "float sizes[6];", "sizes", "an array of 6 × int")]
    [TestCase("float* outputs[2];", "long long outputs[2];", "outputs", "an array of 2 × a pointer")]
    [TestCase("Rule rule;", "signed char rule;", "rule", "unsigned char, 1 bytes")]
    [TestCase("struct Inner { int stride; float weights[3]; };", "struct Inner { float stride; float weights[3]; };", "inner.stride", "Inner.Stride")]
    [TestCase("struct Inner { int stride; float weights[3]; };", "struct Inner { int step; float weights[3]; };", "\"Inner\" has no member \"stride\"", "stride")]
    [TestCase("long long last;", "long long last, extra;", "LayoutArguments", "C# has 144 bytes")]
    [TestCase("LayoutArguments", "OtherArguments", "LayoutArguments", "undefined")]
    public void A_difference_is_an_error_that_names_the_field(string right, string wrong, string field, string expected)
    {
        string text = Good.Replace(right, wrong);
        Assert.That(text, Is.Not.EqualTo(Good));
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(() => Compile(text, "compute_80"))!;
        Assert.That(exception.Message, Does.Contain(field).And.Contain(expected).And.Contain("LayoutArguments in C#("));
    }

    [Test]
    public void A_struct_that_no_kernel_could_take_is_refused()
    {
        Assert.That(() => Compile(Good, "compute_80", typeof(AutomaticArguments)), Throws.ArgumentException.With.Message.Contains("Sequential"));
        Assert.That(() => Compile(Good, "compute_80", typeof(ReferenceArguments)), Throws.ArgumentException.With.Message.Contains("Name is a String"));
        Assert.That(() => Compile(Good, "compute_80", typeof(EmptyArguments)), Throws.ArgumentException);
    }

    [Test]
    public void A_record_struct_and_explicit_offsets_are_read_as_fields()
    {
        const string Text =
            """
            struct RecordArguments { float* output; int count; };
            struct PlacedArguments { int first; int gap; long long second; };
            extern "C" __global__ void nothing(const __grid_constant__ RecordArguments arguments) { arguments.output[0] = arguments.count; }
            """;
        Assert.That(Compile(Text, "compute_80", typeof(RecordArguments), typeof(PlacedArguments)).Kernels, Has.Count.EqualTo(1));
        Assert.That(() => Compile(Text.Replace("int gap;", ""), "compute_80", typeof(RecordArguments), typeof(PlacedArguments)), Throws.Nothing, "the gap is padding");
        Assert.That(
            () => Compile(Text.Replace("long long second", "long long third"), "compute_80", typeof(RecordArguments), typeof(PlacedArguments)),
            Throws.TypeOf<KernelCompilationException>().With.Message.Contains("second"));
    }

    [Test]
    public void A_tensor_map_stands_first_and_rounds_the_size_up()
    {
        const string Text =
            """
            struct alignas(64) TensorMap { unsigned long long words[16]; };
            struct MapArguments { TensorMap first; TensorMap second; float* output; int count; };
            extern "C" __global__ void nothing(const __grid_constant__ MapArguments arguments) { arguments.output[0] = arguments.count; }
            """;
        Assert.That(Compile(Text, "compute_80", typeof(MapArguments)).Kernels, Has.Count.EqualTo(1));
        Assert.That(() => Compile(Text.Replace("alignas(64) ", ""), "compute_80", typeof(MapArguments)), Throws.TypeOf<KernelCompilationException>().With.Message.Contains("C# has 320 bytes"));
        Assert.That(() => Compile(Text, "compute_80", typeof(ShortMapArguments)), Throws.ArgumentException.With.Message.Contains("give the size in [StructLayout]"));
        Assert.That(() => Compile(Text, "compute_80", typeof(LateMapArguments)), Throws.ArgumentException.With.Message.Contains("declare such fields first"));
    }

    private static CompiledModule Compile(string text, string target, params Type[] types)
    {
        using KernelCompiler compiler = KernelCompiler.Create();
        return compiler.Compile(new KernelSource("layout.cu", text, null, types.Length == 0 ? [typeof(LayoutArguments)] : types), new KernelTarget(target));
    }

#pragma warning disable CS0649 // The structs are read by reflection.
    private enum Rule : byte
    {
        Plain,
    }

    [InlineArray(3)]
    private struct ThreeFloats
    {
        public float First;
    }

    [InlineArray(6)]
    private struct SixIntegers
    {
        public int First;
    }

    [InlineArray(2)]
    private struct TwoPointers
    {
        public nint First;
    }

    [InlineArray(2)]
    private struct TwoInners
    {
        public Inner First;
    }

    private struct WrappedPointer
    {
        public nint Address;
    }

    private struct Inner
    {
        public int Stride;
        public ThreeFloats Weights;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LayoutArguments
    {
        public nint Input;
        public WrappedPointer Wrapped;
        public int Count;
        public float Scale;
        public double Epsilon;
        public byte Flag;
        public Rule Rule;
        public ushort Width;
        public ulong Seed;
        public Inner Inner;
        public SixIntegers Sizes;
        public TwoPointers Outputs;
        public TwoInners Inners;
        public long Last;
    }

    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct MapArguments
    {
        public TensorMap First;
        public TensorMap Second;
        public nint Output;
        public int Count;
    }

    private struct ShortMapArguments
    {
        public TensorMap First;
        public nint Output;
    }

    private struct LateMapArguments
    {
        public nint Output;
        public TensorMap First;
    }

    private readonly record struct RecordArguments(nint Output, int Count);

    [StructLayout(LayoutKind.Explicit)]
    private struct PlacedArguments
    {
        [FieldOffset(0)]
        public int First;

        [FieldOffset(8)]
        public long Second;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct AutomaticArguments
    {
        public int First;
    }

    private struct ReferenceArguments
    {
        public string Name;
    }

    private struct EmptyArguments;
}
