// Add an operation with a CUDA kernel of its own, from outside the engine: x³ by cube.cu, checked on the emulated GPU, or on a real one: dotnet run -- cuda:0
using System.Runtime.InteropServices;
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;
using Saturn.Training;

using Device device = Devices.Open(args.Length > 0 ? args[0] : "emulated");
Cube.Kernel = LoadKernel((CudaDevice)device);
using TensorScope scope = new();
Tensor x = Tensor.Uniform(device, new Shape(50, 7), new RandomKey(Seed: 1, Stream: 0, Step: 0), -1, 1);
var comparisons = GradientCheck.Compare(inputs => Cube.Of(inputs[0]), inputs => [.. inputs[0].Select(value => value * value * value)], [x]);
GradientCheck.Require(comparisons, 1e-6);
Console.WriteLine($"{device.Name}: relative error {comparisons[0].RelativeError:E1}, within 1E-6");

// The struct below must have the layout of the one in cube.cu; a difference is a compile error that names the field.
static CudaKernel<CubeArguments> LoadKernel(CudaDevice device)
{
    string text = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "cube.cu"));
    return device.Context.Module(new KernelSource("cube.cu", text, null, typeof(CubeArguments))).Kernel<CubeArguments>("cube");
}

[StructLayout(LayoutKind.Sequential)]
internal struct CubeArguments
{
    public nint Input;
    public nint OutputGradient;
    public nint Output;
    public int Count;
}

internal sealed class Cube : Node
{
    private SavedTensor input;

    public static CudaKernel<CubeArguments> Kernel { get; set; } = null!;

    public static Tensor Of(Tensor x)
    {
        x = Operation.Convert(x, ElementType.Float32); // what the kernel reads, also where activations are bfloat16
        Tensor output = Tensor.Allocate(x.Device, x.Shape);
        Launch(x.Shape, x.Buffer, DeviceBuffer.None, output.Buffer);
        if (Tape.Records(x))
        {
            Cube node = Tape.Rent<Cube>();
            node.input = node.Save(x);
            Tape.Record(node, output, x);
        }

        return output;
    }

    protected override void Backward(in BackwardContext context)
    {
        using Tensor gradient = Tensor.AllocateUnscoped(context.Device, context.OutputShape);
        Launch(context.OutputShape, input.Buffer, context.OutputGradient, gradient.Buffer);
        context.Add(0, gradient);
    }

    // Padding is zero and stays zero: 0³ = 0.
    private static void Launch(in Shape shape, DeviceBuffer x, DeviceBuffer outputGradient, DeviceBuffer output)
    {
        CubeArguments arguments = new() { Input = x.Address, OutputGradient = outputGradient.Address, Output = output.Address, Count = (int)shape.StorageCount };
        Kernel.Launch(arguments, LaunchGeometry.Cover(arguments.Count, 256));
    }
}
